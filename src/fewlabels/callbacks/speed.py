"""How fast training goes, and for how long it has gone."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Speed(Callback):
    """Log `train/images_per_second`: images of the global batch, not views, while training steps run.

    The very first batch is left out, since the libraries warm up in it. `seconds` is the time of all fits so far,
    those before a resumption included.
    """

    def __init__(self) -> None:
        self.before = 0.0
        self._start = self._fit_start = time.perf_counter()
        self._fit_end: float | None = None
        self._images, self._warm, self.images_per_second = 0, False, 0.0

    @property
    def seconds(self) -> float:
        """Seconds spent in fits, up to now."""
        return self.before + (self._fit_end or time.perf_counter()) - self._fit_start

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._fit_start = time.perf_counter()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop it."""
        self._fit_end = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start an epoch's count."""
        self._start, self._images = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count."""
        if not self._warm:
            self._warm, self._start = True, time.perf_counter()
            return
        self._images += len(batch.x) * trainer.world_size
        self.images_per_second = self._images / (time.perf_counter() - self._start)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch's figure; validation has run in between, so the clock was read at the last batch."""
        if self._images:
            pl_module.log("train/images_per_second", self.images_per_second, rank_zero_only=True)

    def state_dict(self) -> dict[str, Any]:
        """The time so far."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The time before."""
        self.before = state_dict["seconds"]
