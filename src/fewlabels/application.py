"""What the scripts are made of: a command line in, a checked configuration to one function, its run directory out.

To Hydra it adds: errors that a user can put right come as one screen without a traceback, a failed job's traceback is
in that job's own log, `resume=` brings a run's own configuration back, and the checks that span config groups run
before anything heavy is imported.
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

from fewlabels import jobs
from fewlabels.composition import CONF, groups, in_plain_words
from fewlabels.config import Command, ConfigError, changes, is_first, run_dir
from fewlabels.errors import UserError
from fewlabels.rundir import pretrained_by

RUNS = Path("runs")
FULL_DISK = "What had been saved is whole: make room, and go on with resume=RUN_DIR."
log = logging.getLogger(__name__)
_file_log = logging.getLogger("fewlabels.failures")


def application(command: Command) -> Callable[[Callable[[DictConfig], Path]], Callable[[], None]]:
    """Make a script of a function: compose the command's configuration with the command line, check, call, report.

    The function gets the checked configuration and returns the run directory, which is printed as the last line.
    """
    register_resolvers()

    def decorate(task: Callable[[DictConfig], Path]) -> Callable[[], None]:
        @functools.wraps(task)
        def job(cfg: DictConfig) -> float | None:
            try:
                if not (jobs.sweeping() and jobs.begin(cfg, Path(run_dir()))):
                    directory = task(command.prepare(cfg))
                    if is_first():
                        print(directory)  # noqa: T201 - the contract's last line
                return jobs.objective(cfg, Path(run_dir()))
            except Exception as error:
                _refuse(error)
                raise

        main = hydra.main(version_base="1.3", config_path=str(CONF), config_name=command.config)(job)
        return functools.partial(_guarded, main, command)

    return decorate


def configuration(*overrides: str, script: str = "pretrain") -> dict[str, Any]:
    """The configuration of `python src/<script>.py OVERRIDES`, in plain containers: for notebooks and tests.

    Such as `experiment.train(configuration("method=rotnet", "data=flowers"), Path("runs/mine"))`.
    """
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config: Any = OmegaConf.to_container(hydra.compose(script, list(overrides)), resolve=True)
    return dict(config)


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
        if jobs.sweeping():
            jobs.failed(Path(run_dir()), f"{type(error).__name__}: {error}")
        return
    if isinstance(error, jobs.TakenError):
        if HydraConfig.get().runtime.choices["hydra/launcher"] != "basic":
            return  # the other jobs have been submitted already
        sys.exit(f"\n{said}")
    _file_log.error("%s", said, exc_info=error if not isinstance(error, UserError) else None)
    if HydraConfig.get().mode == RunMode.RUN:
        directory = Path(run_dir())
        if {path.name for path in directory.iterdir()} == {"run.log"}:
            (directory / "run.log").unlink()
            _remove_empty(directory)
        sys.exit(f"\n{said}")
    log.error("\n%s", said)
    jobs.failed(Path(run_dir()), said)
    raise ConfigError(f"This job failed: {run_dir()}") from None


def _remove_empty(directory: Path) -> None:
    """Remove an empty run directory, and those above it that it left empty, as far as they are ours."""
    above = [folder for folder in directory.parents if folder.is_relative_to(RUNS.absolute())]
    with contextlib.suppress(OSError):  # not empty
        for folder in [directory, *above]:
            folder.rmdir()


def _guarded(main: Callable[[], None], command: Command) -> None:
    """Run, with Hydra's refusals in plain words; keep from Hydra what changes an earlier run's configuration.

    It would look for the changed keys in its default configuration, where a run of other groups has none.
    """
    _check_directories()
    given = _given()
    if given.get("resume", "null") != "null" and "hydra.run.dir" in given:
        sys.exit("\nresume= and hydra.run.dir= contradict each other: a run goes on in its own directory.")
    sys.argv[1:] = [_listed(a) if a.startswith("run=") else a for a in sys.argv[1:]]
    if any(a in ("-m", "--multirun") for a in sys.argv[1:]):
        _check_sweep(sys.argv[1:])
    changes[:] = command.changes(sys.argv[1:])
    sys.argv[1:] = [a for a in sys.argv[1:] if a not in changes]
    if "HYDRA_FULL_ERROR" in os.environ:
        return main()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and leaves the wording to us
    try:
        main()
    except CompactHydraException as error:
        sys.exit(f"\n{in_plain_words(error)}")


def _listed(argument: str) -> str:
    """`run=A,B` as Hydra writes a list; without -m it would take the comma for a sweep."""
    key, _, value = argument.partition("=")
    return f"{key}=[{value}]" if "," in value and value[0] not in "['\"" else argument


def _check_sweep(arguments: list[str]) -> None:
    """Refuse to do one job twice."""
    for key, values in (a.partition("=")[::2] for a in arguments if "=" in a and not set("[](){}'\"") & set(a)):
        named = [os.path.normpath(value) if value else "" for value in values.split(",")]
        if twice := [value for value in named if named.count(value) > 1]:
            sys.exit(f"\n{key}={values} names {twice[0] or 'nothing'} twice. Name every value once.")


def _given() -> dict[str, str]:
    return dict(argument.partition("=")[::2] for argument in sys.argv[1:])


def _check_directories() -> None:
    """Look at the run directory, about which Hydra would answer with a traceback."""
    given = _given()
    if given.get("hydra.run.dir") == "":
        sys.exit("\nhydra.run.dir= is empty: name a directory.")
    for key in given.keys() & {"hydra.run.dir", "hydra.sweep.dir", "resume", "run"}:
        for name in given[key].strip("'\"[]").split(",") if key == "run" else [given[key].strip("'\"")]:
            _check_directory(key, name)
    asks = any(a.startswith("-") and a not in ("-m", "--multirun") for a in sys.argv[1:])  # such as --help
    if (
        not asks
        and not given.keys() & {"hydra.run.dir", "hydra.sweep.dir", "resume", "run"}
        and (why := _unwritable(RUNS))
    ):
        sys.exit(f"\nRuns go to {RUNS.absolute()}: {why}. Name another directory with hydra.run.dir=DIRECTORY.")


def _check_directory(key: str, name: str) -> None:
    path = Path(name)
    if key in ("resume", "run") and name != "null" and not (path / "config.yaml").is_file():
        run = path.parent.parent if path.suffix == ".ckpt" else None
        here = f" For this checkpoint that is {key}={run}." if run and (run / "config.yaml").is_file() else ""
        sys.exit(f"\n{key}={path}: there is no {path / 'config.yaml'}. Give the directory of a run.{here}")
    if "${" not in name and (why := _unwritable(path)):
        sys.exit(f"\n{key}={name}: {why}. Name a directory that you may write to.")


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


def register_resolvers() -> None:
    """Give Hydra the names that conf/ uses."""
    moment = datetime.now().astimezone()
    OmegaConf.register_new_resolver(
        "run_dir",
        # Microseconds make it unique: runs that start together don't meet
        lambda resume, method, data: resume or f"{RUNS}/{method}-{data}/{moment:%Y-%m-%d_%H-%M-%S-%f}",
        replace=True,
    )
    OmegaConf.register_new_resolver(
        "evaluation_dir",  # a run's own directory, unless other data are looked at
        lambda run: (
            f"{RUNS}/evaluate/{moment:%Y-%m-%d_%H-%M-%S-%f}"
            if any(c.startswith("data=") for c in changes) or not isinstance(run, str)
            else run
        ),
        replace=True,
    )
    OmegaConf.register_new_resolver("swept", _swept, replace=True)
    OmegaConf.register_new_resolver(
        "sweep", lambda: Path(HydraConfig.get().sweep.dir).name if jobs.sweeping() else None, replace=True
    )
    OmegaConf.register_new_resolver("after", _after, replace=True)
    OmegaConf.register_new_resolver("third", lambda epochs: min(max(epochs or 0, 0) // 3, 10), replace=True)
    OmegaConf.register_new_resolver(
        "config_groups",
        lambda: "\n".join(f"  {group}: {', '.join(choices)}" for group, choices in groups().items()),
        replace=True,
    )


def _after(methods: dict[str | None, Any], others: Any, scratch: Any, *, _root_: DictConfig) -> Any:
    """What a finetuning is set to after the method that it begins with, after any other, and from scratch."""
    if isinstance(_root_.checkpoint, str) and _root_.checkpoint:
        return methods.get(pretrained_by(_root_.checkpoint), others)
    return others if OmegaConf.select(_root_, "backbone.weights") else scratch


def _swept() -> str | None:
    """What sets a sweep's job apart, such as "temperature=0.1 batch_size=64"; None outside of a sweep."""
    if not jobs.sweeping():
        return None
    several = {a.partition("=")[0] for a in sys.argv[1:] if "," in a or "range(" in a or "choice(" in a}
    mine = [a.rpartition("=") for a in HydraConfig.get().overrides.task]
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, _, value in mine if key in several) or None
