"""Health while training goes on: a collapse shows in the log when it happens, and not after the last epoch."""

import logging
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from fewlabels.embeddings import sample
from fewlabels.health import COLLAPSED, examine

log = logging.getLogger(__name__)


class HealthMonitor(Callback):
    """Log `health/…` of held-out images every few epochs, and warn once of a collapse.

    Args:
        every_n_epochs: Between two measurements.
        max_samples: At most so many images, two views of each.
    """

    def __init__(self, every_n_epochs: int = 5, max_samples: int = 512) -> None:
        self.every_n_epochs, self.max_samples = every_n_epochs, max_samples
        self.warned = False

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, if it is time."""
        if trainer.sanity_checking or not trainer.is_global_zero or (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        method: Any = pl_module
        rows = sample(datamodule.indices("val"), self.max_samples)
        if len(rows) < 2:
            return
        x = datamodule.images(rows).to(method.device)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():  # in eval mode already, validation having just ended
            one, other = (method.embed(method.views(x, generator)).float().cpu().numpy() for _ in range(2))
        known = {name: float(value) for name in ("loss", "loss_chance")
                 if (value := trainer.callback_metrics.get(f"val/{name}")) is not None}  # fmt: skip
        found = examine(one, other, known)
        measured = {f"health/{name}": value for name, value in found.numbers.items() if name not in known}
        pl_module.log_dict(measured, rank_zero_only=True)
        if found.verdict == COLLAPSED and not self.warned:
            self.warned = True
            log.warning(
                "Epoch %d: the network has collapsed: %s. %s", trainer.current_epoch + 1, found.reason, found.advice
            )
