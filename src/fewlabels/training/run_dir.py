"""The run directory: which one it is, its lock, config.yaml and results.json, and the command line that made it."""

import contextlib
import fcntl
import io
import json
import logging
import math
import os
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from fewlabels.core.atomic_io import write_text
from fewlabels.core.errors import UserError

log = logging.getLogger(__name__)
NAMED_NETWORKS = ("imagenet", "random")
"""Networks that stand where a run directory may: pretrained on ImageNet, and with random weights."""
IMAGENET = ("backbone=efficientnet_lite0", "backbone.weights=imagenet")
"""The settings of the first, whose weights are installed with this project."""
IMAGENET_SIZE = 160
"""Pixels of the images that it is given, unless data.size says otherwise: at 128 its embeddings are worse."""


def current_run_dir() -> Path:
    """The directory of the running job."""
    return Path(HydraConfig.get().runtime.output_dir)


def is_rank_zero() -> bool:
    """Whether this is the first of the processes that torchrun or SLURM started, or the only process."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


def save_config(config: dict[str, Any], directory: Path) -> None:
    """Write config.yaml: the complete, resolved configuration below the command line that started the run.

    A resumption keeps that line; provenance.jsonl holds the commands of all starts and resumptions.
    """
    directory.mkdir(parents=True, exist_ok=True)
    started = recorded_command(directory) if (directory / "config.yaml").is_file() else command_line()
    head = " ".join(started.splitlines())  # a line break in an argument would end the comment
    write_text(directory / "config.yaml", f"# {head}\n{OmegaConf.to_yaml(OmegaConf.create(config))}")


def load_yaml(file: Path) -> Any:
    """Read a config.yaml without its first line if that is a comment: it may have file names that are not UTF-8."""
    content = file.read_bytes()
    content = content.partition(b"\n")[2] if content.startswith(b"#") else content
    return OmegaConf.load(io.StringIO(content.decode("utf-8")))


@contextlib.contextmanager
def run_lock(directory: Path) -> Iterator[None]:
    """Hold the run directory for this process alone, so that no other resumes it meanwhile.

    The lock is on the file `.lock`, which names its holder and is removed at the end. The system releases the lock when
    the process ends, however it ends. A directory that is made for the lock, and stays empty, is removed.

    Raises:
        UserError: Another process trains this run.
    """
    made, file = not directory.is_dir(), directory / ".lock"
    directory.mkdir(parents=True, exist_ok=True)
    while True:
        handle = file.open("a+")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            holder = handle.read().strip() or "a process that has just started"
            handle.close()
            raise UserError(
                f"{directory} is being trained by {holder}. Wait until it has finished, or stop it, and then continue "
                f"with resume={directory}."
            ) from None
        except OSError as error:
            log.warning("%s cannot be locked (%s): make sure that no other process resumes this run.", file, error)
        with contextlib.suppress(FileNotFoundError):  # its last holder removed the file in the meantime
            if os.path.samestat(os.fstat(handle.fileno()), file.stat()):
                break
        handle.close()
    try:
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {platform.node()}\n")
        handle.flush()
        yield
    finally:
        file.unlink(missing_ok=True)
        handle.close()
        if made and not any(directory.iterdir()):
            directory.rmdir()


def save_results(metrics: Mapping[str, float], directory: Path) -> None:
    """Write results.json: one flat mapping of metric names to finite numbers, sorted by name."""
    numbers = {name: value if isinstance(value, int) else float(value) for name, value in sorted(metrics.items())}
    finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
    write_text(directory / "results.json", json.dumps(finite, indent=2) + "\n")


def load_results(directory: Path) -> dict[str, float]:
    """Read results.json; empty if the run has not finished."""
    file = directory / "results.json"
    return dict(json.loads(file.read_text())) if file.is_file() else {}


def run_dir_of(run_or_checkpoint: str | Path) -> Path:
    """The run directory of a checkpoint file, or the run directory itself."""
    path = Path(run_or_checkpoint)
    return path if path.is_dir() else path.parent.parent


def is_named_network(run: object) -> bool:
    """Whether this is one of `NAMED_NETWORKS`, and no file or directory of that name."""
    return run in NAMED_NETWORKS and not Path(str(run)).exists()


def run_config(run_or_checkpoint: str | Path) -> dict[str, Any]:
    """The configuration that a checkpoint was trained with, from its run's config.yaml; empty without one."""
    from fewlabels.core.checkpoints import upgrade_config

    saved = run_dir_of(run_or_checkpoint) / "config.yaml"
    config: Any = OmegaConf.to_container(load_yaml(saved)) if saved.is_file() else None
    return upgrade_config(config) if isinstance(config, dict) else {}


def pretraining_method(run_or_checkpoint: str | Path) -> str | None:
    """The method that trained a checkpoint, from its run's config.yaml; None if unknown."""
    name = run_config(run_or_checkpoint).get("method", {}).get("name")
    return str(name) if name else None


def as_text(text: str) -> str:
    """A text in the quotes in which Hydra's grammar reads it as it is."""
    return QuotedString(text, Quote.single).with_quotes()


def from_overrides(overrides: Sequence[str]) -> DictConfig:
    """What overrides of the form `key=value` set, in Hydra's grammar.

    Raises:
        UserError: One cannot be read, or has several values, as if it were swept over.
    """
    made = OmegaConf.create()
    for override in overrides:
        try:
            read = OverridesParser.create().parse_override(override)
        except HydraException as error:
            raise UserError(unreadable(override, str(error))) from None
        if read.is_sweep_override():
            raise UserError(f"{override} has several values. Give one, or a list as key=[a,b].")
        OmegaConf.update(made, read.key_or_group, read.value(), force_add=True)
    return made


def unreadable(override: str, reason: str) -> str:
    """The message that Hydra's grammar refuses an override: how to write a list, and the value in quotes, for a shell.

    Args:
        override: As Hydra was given it.
        reason: Hydra's, of which the first line is told.
    """
    key, equals, value = override.partition("=")
    quoted = shlex.quote(f"{key}={QuotedString(value, Quote.double).with_quotes()}")
    advice = f", and text with special characters in quotes: {quoted}" if equals else ""
    return f"{override} cannot be read ({reason.splitlines()[0]}). Write key=value, a list as key=[a,b]{advice}."


def program(command: str = "pretrain") -> list[str]:
    """How this program was started, for suggested commands: ["python", "src/pretrain.py"] or ["fewlabels", "pretrain"].

    Args:
        command: The script to suggest where none is running, as in a notebook.
    """
    started = Path(sys.argv[0])
    if started.name.startswith("fewlabels "):
        return started.name.split()
    return ["python", sys.argv[0] if _is_script(started) else f"src/{command}.py"]


def command_line() -> str:
    """The command line of this process, or a note that there was none."""
    started = Path(sys.argv[0])
    if _is_script(started) or started.name.startswith("fewlabels "):
        return shlex.join([*program(), *sys.argv[1:]])
    return "called from Python, not from a command line"


def _is_script(started: Path) -> bool:
    """Whether a process was started as a script of this project, and not by a library such as ipykernel or submitit."""
    return started.suffix == ".py" and "launcher" not in started.name and "site-packages" not in started.parts


def recorded_command(directory: Path) -> str:
    """The command line that a run was started with, from the first line of its config.yaml; "unknown" without it."""
    file = directory / "config.yaml"
    first = file.read_text(errors="surrogateescape").partition("\n")[0] if file.is_file() else ""
    return first.removeprefix("# ") if first.startswith("# ") else "unknown"
