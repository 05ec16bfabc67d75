"""Training speed and duration."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Log `train/images_per_second` during training steps; samples of the global batch are counted, not their views.

    The first batch of a run is not counted, because libraries are initialised in it.
    """

    def __init__(self) -> None:
        self.previous_seconds = 0.0
        self._start = self._fit_start = time.perf_counter()
        self._fit_end: float | None = None
        self._images, self._warm, self.images_per_second = 0, False, 0.0

    @property
    def seconds(self) -> float:
        """Seconds of training so far, including those before resuming."""
        return self.previous_seconds + (self._fit_end or time.perf_counter()) - self._fit_start

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._fit_start = time.perf_counter()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._fit_end = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting the samples of an epoch."""
        self._start, self._images = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the samples of a step."""
        if not self._warm:
            self._warm, self._start = True, time.perf_counter()
            return
        self._images += len(batch.x) * trainer.world_size
        self.images_per_second = self._images / (time.perf_counter() - self._start)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the speed as of the last batch, since validation has run in the meantime."""
        if self._images:
            pl_module.log("train/images_per_second", self.images_per_second, rank_zero_only=True)

    def state_dict(self) -> dict[str, Any]:
        """The seconds of training so far."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.previous_seconds = state_dict["seconds"]
