"""Scripts in this process, as a terminal would see them."""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from fewlabels.cli.app import run_app
from fewlabels.cli.commands import COMMANDS
from fewlabels.cli.resolvers import held_back

ROOT = Path(__file__).parents[2]


class Finished(NamedTuple):
    """What a process leaves in a terminal."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Everything in the terminal."""
        return self.out + self.err


@pytest.fixture
def clean_hydra(tmp_path, environment, monkeypatch, lightning_log_levels) -> Iterator[None]:
    """Run in `tmp_path`, and restore what Hydra and the scripts change in a process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEWLABELS_CACHE", environment["FEWLABELS_CACHE"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")
    monkeypatch.delenv("HYDRA_FULL_ERROR")
    root, failures = logging.getLogger(), logging.getLogger("fewlabels.failures")
    before = root.handlers[:], root.level
    yield
    for handler in {*root.handlers, *failures.handlers} - {*before[0]}:
        handler.close()
    root.handlers[:], root.level = before
    failures.handlers.clear()
    failures.propagate = True
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None
    held_back.clear()


@pytest.fixture
def terminal(clean_hydra, monkeypatch, capfd) -> Callable[..., Finished]:
    """`terminal(main, *argv)` calls an entry point with `sys.argv` as given; an exit message goes to stderr."""

    def run(main, *argv):
        monkeypatch.setattr(sys, "argv", list(argv))
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        code = 0
        try:
            main()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
            if isinstance(error.code, str):
                print(error.code, file=sys.stderr)
        out, err = capfd.readouterr()
        return Finished(code, out, err)

    return run


@pytest.fixture
def cli(terminal) -> Callable[..., Finished]:
    """`cli("pretrain", *arguments)` runs `python src/pretrain.py` in this process, in `tmp_path`."""
    return lambda name, *arguments: terminal(
        lambda: run_app(COMMANDS[name]), str(ROOT / "src" / f"{name}.py"), *arguments
    )
