"""Where metrics go: a CSV file that survives everything, and Weights & Biases beside it; and what stays unsaid."""

import csv
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from fewlabels.files import write_whole

log = logging.getLogger(__name__)


class MetricsCSV(Logger):
    """`metrics.csv` in the run directory: one row per step that logged anything, one column per metric.

    The file is rewritten whole and renamed, so that it is readable at any moment. A resumed run goes on with the rows
    up to the step that it resumes from.

    Args:
        directory: The run directory.
    """

    def __init__(self, directory: str) -> None:
        super().__init__()
        self.path = Path(directory) / "metrics.csv"
        self.rows: dict[int, dict[str, Any]] = {}

    @property
    def name(self) -> str:
        """Lightning asks for one."""
        return "csv"

    @property
    def version(self) -> str:
        """Lightning asks for one."""
        return ""

    def resume(self, step: int) -> None:
        """Read back the rows of steps before `step`; later ones will be made again."""
        if self.path.is_file():
            with self.path.open(newline="") as file:
                rows = [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]
            self.rows = {int(row["step"]): dict(row) for row in rows if int(row["step"]) < step}

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: the configuration lies beside, in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add metrics to the row of `step` (optimiser steps so far)."""
        self.rows.setdefault(step or 0, {"step": step or 0}).update(metrics)

    @rank_zero_only
    def save(self) -> None:
        """Write the file, if there is anything to write: an earlier one is not emptied by a run that never began."""
        if not self.rows:
            return
        columns = ["step", *sorted({name for row in self.rows.values() for name in row} - {"step"})]
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows[step] for step in sorted(self.rows))
        write_whole(self.path, text.getvalue())

    def finalize(self, status: str) -> None:
        """Write what is left."""
        self.save()


def wandb_logger(
    *, directory: str, project: str, name: str, group: str | None, config: dict[str, Any]
) -> Logger | None:
    """Weights & Biases: online after `wandb login`, else offline with the line that uploads the run later.

    Args:
        directory: The run directory; files go to its `wandb/`.
        project: As W&B shows it.
        name: Of the run.
        group: Of a sweep's runs.
        config: The whole resolved configuration.

    Returns:
        The logger; offline, with a warning, where the server does not answer in 30 s, and None where W&B cannot even
        start: metrics.csv is written in any case.
    """
    os.environ.setdefault("WANDB_SILENT", "true")  # before the import, which reads it
    import wandb

    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        return WandbLogger(save_dir=directory)  # speaks on the first process only
    offline = os.environ.get("WANDB_MODE", "") == "offline" or not _logged_in()
    modes: list[Literal["online", "offline"]] = ["offline"] if offline else ["online", "offline"]
    for mode in modes:
        try:
            run = wandb.init(
                dir=directory, project=project, name=name, group=group, config=config, mode=mode,
                settings=wandb.Settings(silent=True, reinit="finish_previous", init_timeout=30),
            )  # fmt: skip
            return WandbLogger(save_dir=directory, experiment=run)
        except (wandb.Error, OSError) as error:
            instead = "logged offline" if mode == "online" else "logged to metrics.csv alone"
            log.warning("Weights & Biases cannot start (%s); this run is %s.", str(error).partition("\n")[0], instead)
    return None


def quieten() -> None:
    """Keep libraries' tips and notices out of the terminal; their errors still come through."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning_fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Reading a memory map in the main process is on purpose; and epochs may be short
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings(
        "ignore", message="Checkpoint directory .* exists and is not empty"
    )  # it is a resumed run's
    # What we log has been reduced over the ranks already, or belongs to the first alone
    warnings.filterwarnings("ignore", message="It is recommended to use .*sync_dist=True")
    warnings.filterwarnings(
        "ignore", message="You're resuming from a checkpoint that ended before the epoch"
    )  # Method does
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(lightning|torch)\..*")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(lightning|torch)\..*")


def _logged_in() -> bool:
    import netrc

    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        known = netrc.netrc().hosts
    except (OSError, netrc.NetrcParseError):
        return False
    return any("wandb" in host for host in known)


def amend_wandb_run(
    directory: Path, *, metrics: Mapping[str, float], pictures: Mapping[str, Path], tables: Mapping[str, Any]
) -> None:
    """Add to the W&B run that a run directory holds; nothing to do where it holds none.

    Args:
        directory: Of the run.
        metrics: Into its summary.
        pictures: Name to PNG file, as `figures/<name>`.
        tables: Name to pandas DataFrame, as `tables/<name>`.
    """
    folders = sorted((directory / "wandb").glob("*run-*-*"))
    if not folders:
        return
    os.environ.setdefault("WANDB_SILENT", "true")
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


def log_checkpoint(run: Any, checkpoint: Path) -> None:
    """Add a checkpoint to a W&B run as an artifact of type "model", named after the run."""
    import wandb

    artifact = wandb.Artifact(f"network-{run.id}", type="model")
    artifact.add_file(str(checkpoint))
    run.log_artifact(artifact)


def finish_loggers(loggers: Iterable[Any], exit_code: int, checkpoint: Path | None = None) -> None:
    """End the job's W&B run inside the job, or a sweep's jobs would share one; say how to upload an offline one.

    Args:
        loggers: Of the trainer.
        exit_code: 0, or 1 of a job that failed.
        checkpoint: What an online run takes along; an offline one would only double it on the disk.
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
