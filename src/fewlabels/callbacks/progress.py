"""Progress of the training: a bar in a terminal, and a line per epoch in the log."""

import logging
import sys
import time
from typing import Any, TextIO

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from fewlabels.callbacks.throughput import Throughput

log = logging.getLogger(__name__)

MAX_LINES = 40
LINE = {
    "train/loss": "  train loss {:.3f}",
    "val/loss": "  val loss {:.3f}",
    "val/loss_chance": " (chance level {:.3f})",
    "train/rotation_accuracy": "  train rotation accuracy {:.1%}",
    "val/rotation_accuracy": "  val rotation accuracy {:.1%}",
    "train/contrastive_top1": "  contrastive top-1 {:.1%}",
    "val/accuracy": "  val accuracy {:.1%}",
    "val/knn_accuracy": "  val kNN {:.1%}",
    "val/linear_accuracy": "  val linear probe {:.1%}",
    "train/images_per_second": "  {:.0f} samples/s",
}
"""Metrics of a log line, in this order."""
PROBES = ("val/knn_accuracy", "val/linear_accuracy")
"""Not measured in every epoch; Lightning keeps the last value, which says nothing about a later epoch."""


class Progress(Callback):
    """Show a progress bar over the entire training if stderr is a terminal, and log about `MAX_LINES` lines at most."""

    def __init__(self) -> None:
        self.bar: Bar | None = None
        self.task = TaskID(0)
        self._updated = 0.0
        self._probed: dict[str, float] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        if not trainer.is_global_zero or not sys.stderr.isatty():
            return
        text = TextColumn("{task.fields[status]}")
        self.bar = Bar(
            TextColumn("epoch {task.fields[epoch]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), text,
            console=Console(stderr=True), transient=True,
        )  # fmt: skip
        total = int(trainer.num_training_batches) * (trainer.max_epochs or 0)
        self.task = self.bar.add_task("", total=total or None, status="", epoch=f"0/{trainer.max_epochs}")
        self.bar.start()
        _log_to(sys.stdout)  # rich has replaced it, so that log lines appear above the bar

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the bar, at most four times a second, because reading the loss waits for the device."""
        if self.bar is None or time.perf_counter() - self._updated < 0.25:
            return
        self._updated = time.perf_counter()
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        speed = next((c.images_per_second for c in callbacks if isinstance(c, Throughput)), 0.0)
        loss, chance = float(outputs["loss"]), float(outputs["loss_chance"])
        status = f"loss {loss:.3f} (chance level {chance:.3f})  {speed:.0f} samples/s"
        completed = trainer.current_epoch * int(trainer.num_training_batches) + batch_idx + 1
        self.bar.update(
            self.task, completed=completed, status=status, epoch=f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
        )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch's metrics on one line; of long trainings, only some epochs and the last."""
        epoch, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        every = max(1, total // MAX_LINES) if total > 0 else 1
        if not trainer.is_global_zero or (epoch % every and epoch != total):
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name in LINE}
        probed = {name: value for name, value in metrics.items() if name in PROBES}
        if probed == self._probed:
            metrics = {name: value for name, value in metrics.items() if name not in PROBES}
        self._probed = probed
        parts = [form.format(metrics[name]) for name, form in LINE.items() if name in metrics]
        log.info("epoch %d/%d%s", epoch, total, "".join(parts))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
            _log_to(sys.stdout)


def _log_to(stream: TextIO) -> None:
    """Redirect the log's terminal output to `stream`."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.setStream(stream)
