"""What a newcomer sees while it trains: a bar with the loss, its chance level and the speed, and a line per epoch."""

import logging
import sys
import time
from typing import Any, TextIO

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from fewlabels.callbacks.speed import Speed

log = logging.getLogger(__name__)


class Progress(Callback):
    """A rich progress bar over the whole training, in a terminal; in any case lines in the log, at most some forty."""

    def __init__(self) -> None:
        self.bar: Bar | None = None
        self.task: Any = None
        self._shown = 0.0

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
        _log_to(sys.stdout)  # which rich has replaced, to write lines above the bar

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Bring the bar up to date, four times a second at most: reading the loss waits for the device."""
        if self.bar is None or time.perf_counter() - self._shown < 0.25:
            return
        self._shown = time.perf_counter()
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        speed = next((c.images_per_second for c in callbacks if isinstance(c, Speed)), 0.0)
        loss, chance = float(outputs["loss"]), float(outputs["loss_chance"])
        status = f"loss {loss:.3f} (chance {chance:.3f})  {speed:.0f} samples/s"
        done = trainer.current_epoch * int(trainer.num_training_batches) + batch_idx + 1
        self.bar.update(
            self.task, completed=done, status=status, epoch=f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
        )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch's figures to the log."""
        epoch, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        every = max(1, total // 40) if total > 0 else 1
        if not trainer.is_global_zero or (epoch % every and epoch != total):
            return
        get = trainer.callback_metrics.get
        parts = [f"epoch {epoch}/{total}"]
        for name, label, form in LINE:
            value = get(name)
            if value is not None:
                parts.append(f"{label} {float(value):{form}}")
        log.info("  ".join(parts))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
            _log_to(sys.stdout)


def _log_to(stream: TextIO) -> None:
    """Point the log's terminal output to `stream`."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.setStream(stream)


LINE = (
    ("train/loss", "loss", ".3f"),
    ("val/loss", "held-out", ".3f"),
    ("val/loss_chance", "chance", ".3f"),
    ("train/rotation_accuracy", "rotation accuracy", ".1%"),
    ("val/rotation_accuracy", "held-out", ".1%"),
    ("train/contrastive_top1", "contrastive top-1", ".1%"),
    ("val/accuracy", "accuracy", ".1%"),
    ("val/knn_accuracy", "kNN", ".1%"),
    ("val/linear_accuracy", "linear", ".1%"),
    ("train/images_per_second", "samples/s", ".0f"),
)
