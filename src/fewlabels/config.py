"""From what a person types to a checked configuration; light, so that a mistake is answered at once.

`application` is what the scripts decorate their one function with. It adds to Hydra: errors that a user can put right
come as one screen without a traceback, a failed job's traceback is in that job's own log, `resume=` brings a run's own
configuration back, and the checks that span config groups run before anything heavy is imported.
"""

import contextlib
import errno
import functools
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from fewlabels.composition import CONF, groups, in_plain_words
from fewlabels.errors import UserError

RUNS = Path("runs")
CHANGEABLE = ("trainer.", "logger.", "callbacks.", "launch.", "data.root", "data.cache_dir")
"""What a resumed run may be given anew."""
FULL_DISK = "What had been saved is whole: make room, and go on with resume=RUN_DIR."
log = logging.getLogger(__name__)
_changes: list[str] = []
_file_log = logging.getLogger("fewlabels.failures")


class ConfigError(UserError, CompactHydraException):
    """A configuration that cannot be; Hydra prints its message without a traceback and exits with code 1."""


def application(config_name: str) -> Callable[[Callable[[DictConfig], Path]], Callable[[], None]]:
    """Make a script of a function: compose `conf/<config_name>.yaml` with the command line, check, call, report.

    The function gets the checked configuration and returns the run directory, which is printed as the last line.
    """
    _register_resolvers()

    def decorate(task: Callable[[DictConfig], Path]) -> Callable[[], None]:
        @functools.wraps(task)
        def job(cfg: DictConfig) -> None:
            try:
                cfg = resumed(cfg) if cfg.get("resume") else cfg
                check(cfg)
                print(task(cfg))  # noqa: T201 - the contract's last line
            except Exception as error:
                _refuse(error)
                raise

        main = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)
        return functools.partial(_guarded, main)

    return decorate


def _refuse(error: Exception) -> None:
    """Say what was wrong, here and in the job's log, and end this job; return if it is a defect of ours.

    A single run that never began leaves no directory behind. In a sweep the other jobs go on.
    """
    if isinstance(error, UserError | OmegaConfBaseException):
        said = str(error).lstrip()
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        said = f"{error.filename or run_dir()}: the disk, or your quota, is full ({error.strerror}). {FULL_DISK}"
    else:
        _file_log.error("The job failed", exc_info=error)
        log.error("The job failed; its traceback is in %s", Path(run_dir()) / "run.log")
        return
    _file_log.error("%s", said, exc_info=error if not isinstance(error, UserError) else None)
    if HydraConfig.get().mode == RunMode.RUN:
        directory = Path(run_dir())
        if {path.name for path in directory.iterdir()} == {"run.log"}:
            (directory / "run.log").unlink()
            _remove_empty(directory)
        sys.exit(f"\n{said}")
    log.error("\n%s", said)
    raise ConfigError(f"This job failed: {run_dir()}") from None


def _remove_empty(directory: Path) -> None:
    """Remove an empty run directory, and those above it that it left empty, as far as they are ours."""
    above = [folder for folder in directory.parents if folder.is_relative_to(RUNS.absolute())]
    with contextlib.suppress(OSError):  # not empty
        for folder in [directory, *above]:
            folder.rmdir()


def run_dir() -> str:
    """The directory of the running job."""
    return str(HydraConfig.get().runtime.output_dir)


def _guarded(main: Callable[[], None]) -> None:
    """Run, with Hydra's refusals in plain words; keep a resumed run's changes from Hydra.

    It would look for the changed keys in its default configuration, where a run of other groups has none.
    """
    _check_directories()
    given = _given()
    if given.get("resume", "null") != "null":
        if "hydra.run.dir" in given:
            sys.exit("\nresume= and hydra.run.dir= contradict each other: a run goes on in its own directory.")
        _changes[:] = [a for a in sys.argv[1:] if "=" in a and not a.startswith(("resume=", "hydra.", "-"))]
        sys.argv[1:] = [a for a in sys.argv[1:] if a not in _changes]
    if "HYDRA_FULL_ERROR" in os.environ:
        return main()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and leaves the wording to us
    try:
        main()
    except CompactHydraException as error:
        sys.exit(f"\n{in_plain_words(error)}")


def _given() -> dict[str, str]:
    return dict(argument.partition("=")[::2] for argument in sys.argv[1:])


def _check_directories() -> None:
    """Look at the run directory, about which Hydra would answer with a traceback."""
    given = _given()
    if given.get("hydra.run.dir") == "":
        sys.exit("\nhydra.run.dir= is empty: name a directory.")
    for key in given.keys() & {"hydra.run.dir", "hydra.sweep.dir", "resume"}:
        path = Path(given[key].strip("'\""))
        if key == "resume" and given[key] != "null" and not (path / "config.yaml").is_file():
            run = path.parent.parent if path.suffix == ".ckpt" else None
            here = f" For this checkpoint that is resume={run}." if run and (run / "config.yaml").is_file() else ""
            sys.exit(f"\nresume={path}: there is no {path / 'config.yaml'}. Give the directory of a run.{here}")
        if "${" not in given[key] and (why := _unwritable(path)):
            sys.exit(f"\n{key}={given[key]}: {why}. Name a directory that you may write to.")
    asks = any(a.startswith("-") and a not in ("-m", "--multirun") for a in sys.argv[1:])  # such as --help
    if not asks and not given.keys() & {"hydra.run.dir", "hydra.sweep.dir", "resume"} and (why := _unwritable(RUNS)):
        sys.exit(f"\nRuns go to {RUNS.absolute()}: {why}. Name another directory with hydra.run.dir=DIRECTORY.")


def _unwritable(path: Path) -> str:
    """Why a directory cannot be made there, tried and undone; nothing if it can."""
    made: list[Path] = []
    try:
        for folder in [*reversed(path.absolute().parents), path.absolute()]:
            if not folder.exists():
                folder.mkdir()
                made.append(folder)
        with tempfile.TemporaryFile(dir=path):
            return ""
    except OSError as error:
        return f"it cannot be written to ({error.strerror})"
    finally:
        for folder in reversed(made):
            folder.rmdir()


def _register_resolvers() -> None:
    moment = datetime.now().astimezone()
    OmegaConf.register_new_resolver(
        "run_dir",
        # Microseconds make it unique: runs that start together don't meet
        lambda resume, method, data: resume or f"{RUNS}/{method}-{data}/{moment:%Y-%m-%d_%H-%M-%S-%f}",
        replace=True,
    )
    OmegaConf.register_new_resolver(
        "config_groups",
        lambda: "\n".join(f"  {group}: {', '.join(choices)}" for group, choices in groups().items()),
        replace=True,
    )


def resumed(cfg: DictConfig) -> DictConfig:
    """The configuration that `resume=RUN_DIR` was started with, with this command line's own changes on top.

    Raises:
        ConfigError: No run there, or a change of a whole group, which would be another run.
    """
    saved = Path(cfg.resume) / "config.yaml"
    if not saved.is_file():
        raise ConfigError(f"\nresume={cfg.resume}: there is no {saved}. Give the directory of a run that was begun.")
    try:
        before: Any = OmegaConf.load(saved)
    except (YAMLError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"\nresume={cfg.resume}: {saved} cannot be read ({error}).") from None
    if "method" not in before or "data" not in before:
        raise ConfigError(f"\nresume={cfg.resume}: {saved} is not the configuration of a run.")
    OmegaConf.set_struct(before, True)
    for change in _changes:
        key, _, value = change.partition("=")
        if not key.startswith(CHANGEABLE):
            raise ConfigError(
                f"\n{change} together with resume=: a resumed run keeps its {key}, or it would be another run. It may "
                f"change {', '.join(CHANGEABLE)}… Leave {key}= away, or start anew."
            )
        try:
            before = OmegaConf.merge(before, OmegaConf.from_dotlist([f"{key}={value}"]))
        except OmegaConfBaseException as error:
            raise ConfigError(f"\n{change}: {error}") from None
    before.resume = cfg.resume
    return before


def check(cfg: DictConfig) -> None:
    """Check what spans several groups; what concerns one class alone is checked by its constructor.

    Raises:
        ConfigError: With the key, what it is, what it may be.
    """
    _positive(cfg, "trainer.max_epochs", "data.batch_size")
    if not isinstance(cfg.seed, int) or not 0 <= cfg.seed < 2**32:
        raise ConfigError(f"\nseed={cfg.seed}: give a whole number from 0 to {2**32 - 1}.")
    directory = Path(run_dir())
    begun = any((directory / name).exists() for name in ("checkpoints", "config.yaml"))
    first = os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"  # others come after its config.yaml
    if begun and first and not cfg.get("resume"):
        raise ConfigError(
            f"\nhydra.run.dir={directory} already holds a run, and runs are never overwritten. "
            f"Choose another directory, or go on with resume={directory}."
        )
    if OmegaConf.select(cfg, "trainer.overfit_batches"):
        raise ConfigError("\ntrainer.overfit_batches is not supported. Use trainer.limit_train_batches=N instead.")
    if "method" not in cfg or "data" not in cfg:
        return
    kind, method, wanted = cfg.data.kind, cfg.method.called, cfg.method.accepts
    if kind not in wanted:
        raise ConfigError(
            f"\nmethod={method} works on {' and '.join(wanted)}, but data={cfg.data.called} are {kind}. "
            f"Try data={'plankton' if kind == 'points' else 'spirals'}, or method=siamese, which takes both."
        )
    network = "points" if cfg.backbone._target_.endswith(".mlp") else "images"
    if kind != network:
        raise ConfigError(
            f"\nThe backbone takes {network}, but data={cfg.data.called} are {kind}. "
            f"Use backbone={'mlp' if kind == 'points' else 'resnet18'}."
        )


def _positive(cfg: DictConfig, *keys: str) -> None:
    for key in keys:
        value = OmegaConf.select(cfg, key)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ConfigError(f"\n{key}={value}: give a whole number of at least 1.")
