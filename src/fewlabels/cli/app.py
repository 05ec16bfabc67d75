"""Run one command: compose its configuration with Hydra, check it, do the work, print the run directory.

What it adds to Hydra: a user's mistake gives a short message without a traceback; a job's traceback is in that job's
own run.log; `resume=` brings an earlier run's configuration back; checks that span config groups come before any heavy
import.
"""

import contextlib
import errno
import io
import logging
import os
import sys
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from fewlabels.cli.arguments import check_arguments, prepare_arguments
from fewlabels.cli.hydra_messages import explain
from fewlabels.cli.resolvers import CONF, RUNS, held_back, register_resolvers
from fewlabels.core.errors import UserError
from fewlabels.sweeps import jobs
from fewlabels.training.config_checks import ConfigError
from fewlabels.training.run_dir import current_run_dir, from_overrides, is_rank_zero

if TYPE_CHECKING:
    from fewlabels.cli.commands import Command

log = logging.getLogger(__name__)
_file_log = logging.getLogger("fewlabels.failures")


def print_help(command: str) -> None:
    """Print the help of `conf/<command>.yaml` with the configuration of this command line.

    Hydra's own help reads every config group anew, which takes five times as long.
    """
    overrides = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = hydra.compose(command, overrides, return_hydra_config=True)
    except CompactHydraException as error:
        sys.exit(f"\n{explain(error, command)}")
    template = Template(cfg.hydra.help.template)
    with open_dict(cfg):
        del cfg.hydra
    print(template.substitute(CONFIG=OmegaConf.to_yaml(cfg, resolve="--resolve" in sys.argv)))  # noqa: T201


def run_app(command: "Command") -> None:
    """Run a command with the arguments in `sys.argv`; exit with a message and code 1 on a user's mistake."""
    register_resolvers()
    _print_any_file_name()
    check_arguments(sys.argv[1:], command.name)
    typed, prepared = list(sys.argv), prepare_arguments(sys.argv[1:])
    held_back[:] = command.held_back(prepared)
    sys.argv[1:] = [argument for argument in prepared if argument not in held_back]

    def job(cfg: DictConfig) -> float | None:
        sys.argv[:] = typed  # what is recorded: Hydra has read its own by now, and submitit's process has another
        try:
            return _run_job(command, cfg)
        except Exception as error:
            _report_failure(error)
            raise

    _check_readable(held_back)
    if {"-h", "--help"} & set(sys.argv[1:]):
        return print_help(command.name)
    main = hydra.main(version_base="1.3", config_path=str(CONF), config_name=command.name)(job)
    if "HYDRA_FULL_ERROR" in os.environ:
        return main()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and the message is ours
    try:
        main()
    except CompactHydraException as error:
        sys.exit(f"\n{explain(error, command.name)}")
    except OmegaConfBaseException as error:  # of Hydra's own settings, such as hydra.run.dir
        sys.exit(f"\n{error}")


def _print_any_file_name() -> None:
    """Make the terminal take file names that are not UTF-8, as they are."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")


def _check_readable(overrides: list[str]) -> None:
    """Exit with a message if Hydra's grammar refuses overrides that it is given only later, if at all."""
    for override in overrides:
        try:
            from_overrides([override])
        except UserError as error:
            sys.exit(f"\n{error}")


def _run_job(command: "Command", cfg: DictConfig) -> float | None:
    """Run one job; returns what a hyperparameter search maximises, if anything."""
    command.complete(cfg, [str(override) for override in HydraConfig.get().overrides.task])
    if not (jobs.in_sweep() and jobs.begin_job(cfg, current_run_dir())):
        directory = command.run(command.prepare(cfg, held_back))
        if is_rank_zero():
            print(directory)  # noqa: T201 - the last line of every script
        if directory.absolute() != current_run_dir() and not any(current_run_dir().iterdir()):
            _remove_empty(current_run_dir())
    return jobs.objective(cfg, current_run_dir())


def compose_config(*overrides: str, script: str = "pretrain") -> dict[str, Any]:
    """The configuration of `python src/<script>.py OVERRIDES`, in plain containers: for notebooks and tests.

    Such as `training.fit.train(compose_config("method=rotnet", "data=flowers"), Path("runs/mine"))`.
    """
    from fewlabels.cli.commands import COMMANDS

    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra.compose(script, prepare_arguments(list(overrides)))
        COMMANDS[script].complete(cfg, list(overrides))
        config: Any = OmegaConf.to_container(cfg, resolve=True)
    return dict(config)


def _report_failure(error: Exception) -> None:
    """Log a job's failure, there and in the terminal; end the job if it is a user's mistake, return if it is a bug.

    A single run that never started leaves no directory behind. In a sweep the other jobs continue.
    """
    message = _user_message(error)
    if message is None:
        _file_log.error("The job failed", exc_info=error)
        log.error("The job failed; its traceback is in %s", current_run_dir() / "run.log")
        if jobs.in_sweep():
            jobs.record_failure(current_run_dir(), f"{type(error).__name__}: {error}")
        return
    if isinstance(error, jobs.JobConflictError):
        if HydraConfig.get().runtime.choices["hydra/launcher"] != "basic":
            return  # the other jobs have been submitted already
        sys.exit(f"\n{message}")
    _file_log.error("%s", message, exc_info=error if not isinstance(error, UserError) else None)
    if HydraConfig.get().mode == RunMode.RUN:
        directory = current_run_dir()
        if {path.name for path in directory.iterdir()} == {"run.log"}:
            (directory / "run.log").unlink()
            _remove_empty(directory)
        sys.exit(f"\n{message}")
    log.error("\n%s", message)
    jobs.record_failure(current_run_dir(), message)
    raise ConfigError(f"This job failed: {current_run_dir()}") from None


def _user_message(error: Exception) -> str | None:
    """The message of an error that a user can correct; None for a bug."""
    if isinstance(error, UserError | OmegaConfBaseException):
        return str(error).lstrip()
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{error.filename or current_run_dir()}: the disk, or your quota, is full ({error.strerror}). Files that "
            "were saved are complete: free some space, and continue with resume=RUN_DIR."
        )
    return None


def _remove_empty(directory: Path) -> None:
    """Remove an empty run directory, and the folders of `runs/` above it that are then empty."""
    above = [folder for folder in directory.parents if folder.is_relative_to(RUNS.absolute())]
    with contextlib.suppress(OSError):  # not empty
        for folder in [directory, *above]:
            folder.rmdir()
