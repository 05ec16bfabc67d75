"""Weights & Biases: start a run, finish it inside its job, and add an evaluation to it later."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from fewlabels.core.atomic_io import is_utf8, spelled
from fewlabels.training.loggers import MetricsCSV

log = logging.getLogger(__name__)


def wandb_logger(
    *, directory: str, config: dict[str, Any], project: str, name: str | None, group: str | None
) -> Logger | None:
    """Lightning's WandbLogger: online after `wandb login`, else offline; a resumed run continues its W&B run.

    Args:
        directory: The run directory; files go to its `wandb/`.
        config: The complete resolved configuration.
        project: W&B project.
        name: Display name; None: the name of the run directory.
        group: Group of a sweep's runs.

    Returns:
        The logger. If the server does not answer within 30 s it is offline, with a warning; None, with a warning, if
        W&B cannot start at all, and None if it is disabled by WANDB_MODE or `wandb disabled`. metrics.csv is written in
        any case.
    """
    import wandb

    if (mode := wandb_mode()) == "disabled" or not _takes(directory):
        return None
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        return WandbLogger(save_dir=directory)  # logs on rank 0 only
    modes: list[Literal["online", "offline"]] = ["offline"] if mode == "offline" else ["online", "offline"]
    earlier = _run_folders(Path(directory)) if config.get("resume") else []
    for each in modes:
        try:
            with _spelled_arguments():
                run = wandb.init(
                    dir=directory, project=project, name=name or Path(directory).name, group=group,
                    config=_spelled(config), mode=each, id=_run_id(earlier[-1]) if earlier else None,
                    resume="allow" if earlier and each == "online" else None,  # offline, W&B ignores it with a warning
                    settings=wandb.Settings(silent=True, reinit="finish_previous", init_timeout=30),
                )  # fmt: skip
            return WandbLogger(save_dir=directory, experiment=run)
        except (wandb.Error, OSError) as error:
            instead = "logged offline" if each == "online" else "logged to metrics.csv only"
            log.warning("Weights & Biases cannot start (%s); this run is %s.", str(error).partition("\n")[0], instead)
    return None


def _takes(directory: str) -> bool:
    """Whether W&B can log into a directory; warns if not."""
    takes = is_utf8(str(Path(directory).absolute()))
    if not takes and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        log.warning("%s: Weights & Biases takes no directory whose name is not UTF-8; this run is logged to "
                    "metrics.csv only.", directory)  # fmt: skip
    return takes


def wandb_mode() -> Literal["online", "offline", "disabled"]:
    """What the environment variable WANDB_MODE, `wandb disabled` and `wandb offline` say; offline without a login."""
    from wandb.sdk import wandb_setup

    mode = os.environ.get("WANDB_MODE") or wandb_setup.singleton().settings.mode
    if mode == "disabled":
        return "disabled"
    return "offline" if mode in ("offline", "dryrun") or not _logged_in() else "online"


def _run_folders(directory: Path) -> list[Path]:
    """Folders of W&B runs in a run directory, `run-TIME-ID` and `offline-run-TIME-ID`, in the order of their times."""
    return sorted((directory / "wandb").glob("*run-*-*"), key=lambda folder: folder.name.partition("run-")[2])


def _run_id(folder: Path) -> str:
    """The id is in the name of W&B's file: of two runs begun in one second the later folder is `run-TIME-ID-1`."""
    file = next(folder.glob("run-*.wandb"), None)
    return file.stem.removeprefix("run-") if file else folder.name.partition("run-")[2].partition("-")[2]


def _logged_in() -> bool:
    import netrc

    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        known = netrc.netrc().hosts
    except (OSError, netrc.NetrcParseError):
        return False
    return any("wandb" in host for host in known)


def finish_loggers(loggers: Iterable[Any], exit_code: int, checkpoint: Path | None = None) -> None:
    """Finish the W&B run inside its job, since a sweep's jobs would share one; log how to upload an offline run.

    Args:
        loggers: Of the trainer.
        exit_code: 0, or 1 of a failed job.
        checkpoint: Logged as an artifact of an online run; an offline run would only store a second copy.
    """
    wandb = sys.modules.get("wandb")
    for logger in loggers:
        if exit_code and isinstance(logger, MetricsCSV):
            logger.save()
        if wandb and isinstance(logger, WandbLogger) and wandb.run is not None:
            directory, offline = Path(wandb.run.dir).parent, wandb.run.offline
            if checkpoint and checkpoint.is_file() and not offline:
                log_checkpoint(wandb.run, checkpoint)
            parts = [each for each in _run_folders(directory.parent.parent) if _run_id(each) == wandb.run.id]
            wandb.finish(exit_code=exit_code)
            if offline:
                log.info("Logged offline; to upload: wandb sync %s", " ".join(map(str, parts)))  # in order of time


@contextlib.contextmanager
def _spelled_arguments() -> Iterator[None]:
    """Arguments of this process in UTF-8, which W&B records when a run begins."""
    typed = list(sys.argv)
    sys.argv[:] = _spelled(typed)
    try:
        yield
    finally:
        sys.argv[:] = typed


def _spelled(value: Any) -> Any:
    """Nested containers with all texts `spelled`, since W&B takes UTF-8 alone."""
    if isinstance(value, dict):
        return {_spelled(key): _spelled(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_spelled(each) for each in value]
    return spelled(value) if isinstance(value, str) else value


def log_checkpoint(run: Any, checkpoint: Path) -> None:
    """Add a checkpoint to a W&B run as an artifact of type "model", named after the run."""
    import wandb

    artifact = wandb.Artifact(f"network-{run.id}", type="model")
    artifact.add_file(str(checkpoint))
    run.log_artifact(artifact)


def amend_wandb_run(
    directory: Path, *, metrics: Mapping[str, float], pictures: Mapping[str, Path], tables: Mapping[str, Any]
) -> None:
    """Add an evaluation to the W&B run of a run directory; does nothing if there is none.

    Args:
        directory: The run directory.
        metrics: Added to the summary.
        pictures: Name to PNG file, logged as `figures/<name>`.
        tables: Name to pandas DataFrame, logged as `tables/<name>`.
    """
    folders = _run_folders(directory)
    if not folders or (mode := wandb_mode()) == "disabled" or not is_utf8(str(directory.absolute())):
        return
    import wandb

    offline = folders[-1].name.startswith("offline") or mode == "offline"
    settings = wandb.Settings(silent=True, console="off")
    try:
        with _spelled_arguments():
            run = wandb.init(dir=directory, id=_run_id(folders[-1]), resume="allow", settings=settings,
                             mode="offline" if offline else "online")  # fmt: skip
        run.summary.update(dict(metrics))
        run.log({f"figures/{name}": wandb.Image(str(file)) for name, file in pictures.items()})
        run.log({f"tables/{name}": wandb.Table(dataframe=table.map(_spelled)) for name, table in tables.items()})
        folder = Path(run.dir).parent
        run.finish()
    except (wandb.Error, OSError) as error:
        log.warning("Weights & Biases did not take the evaluation (%s); everything is in %s.", error, directory)
        return
    if offline:
        log.info("Logged offline; to upload: wandb sync %s", folder)
