"""Weights & Biases: start a run, finish it inside its job, and add an evaluation to it later."""

import logging
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from fewlabels.training.loggers import MetricsCSV

log = logging.getLogger(__name__)


def wandb_logger(
    *, directory: str, config: dict[str, Any], project: str, name: str | None, group: str | None
) -> Logger | None:
    """Lightning's WandbLogger: online after `wandb login`, else offline.

    Args:
        directory: The run directory; files go to its `wandb/`.
        config: The complete resolved configuration.
        project: W&B project.
        name: Display name; None: the name of the run directory.
        group: Group of a sweep's runs.

    Returns:
        The logger. If the server does not answer within 30 s it is offline, with a warning; None, with a warning, if
        W&B cannot start at all. metrics.csv is written in any case.
    """
    import wandb

    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        return WandbLogger(save_dir=directory)  # logs on rank 0 only
    offline = os.environ.get("WANDB_MODE", "") == "offline" or not _logged_in()
    modes: list[Literal["online", "offline"]] = ["offline"] if offline else ["online", "offline"]
    for mode in modes:
        try:
            run = wandb.init(
                dir=directory, project=project, name=name or Path(directory).name, group=group, config=config,
                mode=mode,
                settings=wandb.Settings(silent=True, reinit="finish_previous", init_timeout=30),
            )  # fmt: skip
            return WandbLogger(save_dir=directory, experiment=run)
        except (wandb.Error, OSError) as error:
            instead = "logged offline" if mode == "online" else "logged to metrics.csv only"
            log.warning("Weights & Biases cannot start (%s); this run is %s.", str(error).partition("\n")[0], instead)
    return None


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
            wandb.finish(exit_code=exit_code)
            if offline:
                log.info("Logged offline; to upload: wandb sync %s", directory)


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
    folders = sorted((directory / "wandb").glob("*run-*-*"))
    if not folders:
        return
    import wandb

    offline = folders[-1].name.startswith("offline") or not _logged_in()
    settings = wandb.Settings(silent=True, console="off")
    try:
        run = wandb.init(dir=directory, id=folders[-1].name.rpartition("-")[2], resume="allow", settings=settings,
                         mode="offline" if offline else "online")  # fmt: skip
        run.summary.update(dict(metrics))
        run.log({f"figures/{name}": wandb.Image(str(file)) for name, file in pictures.items()})
        run.log({f"tables/{name}": wandb.Table(dataframe=table) for name, table in tables.items()})
        folder = Path(run.dir).parent
        run.finish()
    except (wandb.Error, OSError) as error:
        log.warning("Weights & Biases did not take the evaluation (%s); everything is in %s.", error, directory)
        return
    if offline:
        log.info("Logged offline; to upload: wandb sync %s", folder)
