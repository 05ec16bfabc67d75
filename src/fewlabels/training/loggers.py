"""Loggers: metrics.csv, which is always written, and Weights & Biases, TensorBoard or MLflow beside it."""

import csv
import io
import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from fewlabels.core.atomic_io import write_text
from fewlabels.core.errors import UserError

log = logging.getLogger(__name__)


class MetricsCSV(Logger):
    """`metrics.csv` in the run directory: one row per step that logged anything, one column per metric.

    The whole file is rewritten atomically, so that it is readable at any time, and a metric that appears late gets its
    column. A resumed run keeps the rows before the step that it resumes from.

    Args:
        directory: The run directory.
    """

    def __init__(self, directory: str) -> None:
        super().__init__()
        self.path = Path(directory) / "metrics.csv"
        self.rows: dict[int, dict[str, Any]] = {}

    @property
    def name(self) -> str:
        """Required by Lightning."""
        return "csv"

    @property
    def version(self) -> str:
        """Required by Lightning."""
        return ""

    def resume(self, step: int) -> None:
        """Read back the rows before `step`; later ones will be logged again."""
        if self.path.is_file():
            with self.path.open(newline="") as file:
                rows = [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]
            self.rows = {int(row["step"]): dict(row) for row in rows if int(row["step"]) < step}

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the configuration is in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add metrics to the row of `step` (optimizer steps so far)."""
        self.rows.setdefault(step or 0, {"step": step or 0}).update(metrics)

    @rank_zero_only
    def save(self) -> None:
        """Write the file; without rows nothing is written, so that an earlier file is kept."""
        if not self.rows:
            return
        columns = ["step", *sorted({name for row in self.rows.values() for name in row} - {"step"})]
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows[step] for step in sorted(self.rows))
        write_text(self.path, text.getvalue())

    def finalize(self, status: str) -> None:
        """Write what has not been written yet."""
        self.save()


def tensorboard_logger(*, directory: str, config: dict[str, Any]) -> Logger:  # noqa: ARG001 - all loggers get both
    """Lightning's TensorBoardLogger, writing to `tensorboard/` in the run directory.

    Raises:
        UserError: TensorBoard is not installed.
    """
    from lightning.pytorch.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(save_dir=directory, name="", version="tensorboard")
    except ModuleNotFoundError as error:
        raise UserError("logger=tensorboard: TensorBoard is not installed. Run pip install tensorboard.") from error


def mlflow_logger(
    *,
    directory: str,
    config: dict[str, Any],  # noqa: ARG001 - all loggers get it
    experiment_name: str,
    tracking_uri: str,
) -> Logger:
    """Lightning's MLFlowLogger; the MLflow run is named after the run directory.

    Args:
        directory: The run directory.
        config: The complete resolved configuration.
        experiment_name: As MLflow shows it.
        tracking_uri: Of the tracking server or database. Figures of a local SQLite database are kept in the folder
            `mlflow` next to it.

    Raises:
        UserError: MLflow is not installed.
    """
    from lightning.pytorch.loggers import MLFlowLogger

    artifacts = None
    if tracking_uri.startswith("sqlite:///"):
        folder = Path(tracking_uri.removeprefix("sqlite:///")).absolute().parent
        folder.mkdir(parents=True, exist_ok=True)
        artifacts = (folder / "mlflow").as_uri()
    try:
        return MLFlowLogger(
            experiment_name=experiment_name, run_name=Path(directory).name, tracking_uri=tracking_uri,
            tags={"run_dir": directory}, artifact_location=artifacts,
        )  # fmt: skip
    except ModuleNotFoundError as error:
        packages = "mlflow-skinny sqlalchemy alembic"
        raise UserError(f"logger=mlflow: MLflow is not installed. Run pip install {packages}.") from error


def silence_libraries() -> None:
    """Keep notices of Lightning and torch out of the terminal; their errors are still shown."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning_fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)  # the table of trainer.profiler=simple
    for message in (
        ".*does not have many workers.*",  # batches are read from a memory map, in the main process
        "Checkpoint directory .* exists and is not empty",  # of a resumed run
        "It is recommended to use .*sync_dist=True",  # what we log is reduced already, or belongs to rank 0
        "You're resuming from a checkpoint that ended before the epoch",  # Method.on_train_start skips its batches
        ".*is smaller than the logging interval.*",
    ):
        warnings.filterwarnings("ignore", message=message)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(lightning|torch)\..*")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(lightning|torch)\..*")
    os.environ.setdefault("WANDB_SILENT", "true")  # read when wandb is imported
