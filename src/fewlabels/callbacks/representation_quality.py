"""Representation quality during training, so that a collapse is noticed when it happens."""

import logging
from typing import Protocol, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from fewlabels.callbacks.access import data_of
from fewlabels.core.interfaces import is_images
from fewlabels.probing.embeddings import sample
from fewlabels.probing.representation_quality import COLLAPSED, assess

log = logging.getLogger(__name__)


class ViewEmbedder(Protocol):
    """What this callback needs of a method."""

    def views(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one view of each image [B, C, S, S]."""

    def embed(self, x: Tensor) -> Tensor:
        """Embed views [B, C, S, S] as [B, D]."""


class RepresentationQuality(Callback):
    """Log `representation/…` of validation images every few epochs, and warn once if the representation collapses.

    Args:
        every_n_epochs: Epochs between two measurements.
        max_samples: Number of images, at most; two views of each are embedded.
    """

    def __init__(self, every_n_epochs: int = 5, max_samples: int = 512) -> None:
        self.every_n_epochs, self.max_samples = every_n_epochs, max_samples
        self.warned = False

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, if due."""
        if trainer.sanity_checking or not trainer.is_global_zero or (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        data, method = data_of(trainer), cast("ViewEmbedder", pl_module)
        assert is_images(data), data.modality
        rows = sample(data.indices("val"), self.max_samples)
        if len(rows) < 2:
            return
        x = data.images(rows).to(pl_module.device)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():  # the network is in eval mode: validation has just ended
            one, other = (method.embed(method.views(x, generator)).float().cpu().numpy() for _ in range(2))
        # Without the loss: that of this validation is logged after this hook, and a collapse shows without it
        quality = assess(one, other, {})
        pl_module.log_dict({f"representation/{n}": value for n, value in quality.numbers.items()}, rank_zero_only=True)
        if quality.verdict == COLLAPSED and not self.warned:
            self.warned = True
            epoch = trainer.current_epoch + 1
            log.warning("Epoch %d: the representation has collapsed: %s. %s", epoch, quality.reason, quality.advice)
