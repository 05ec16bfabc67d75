"""A figure of the augmented views: the first thing to check when pretraining does not learn."""

from typing import Any, Protocol, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from fewlabels.callbacks.access import data_of
from fewlabels.callbacks.log_figure import log_figure
from fewlabels.core.interfaces import is_images
from fewlabels.figures.dataset import views_figure


class Augmenter(Protocol):
    """What this callback needs of a method."""

    def preview_views(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Augment images uint8 [B, C, S, S]; title to float [B, C, S, S] in [0, 1]."""


class PreviewViews(Callback):
    """Save `views.png` in the first epoch: training images in the first row, and their views below.

    Args:
        images: Number of images, one per column.
    """

    def __init__(self, images: int = 8) -> None:
        self.images, self.done = images, False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, once per run."""
        if self.done or not trainer.is_global_zero:
            return
        self.done = True
        data, method = data_of(trainer), cast("Augmenter", pl_module)
        assert is_images(data), data.modality
        rows = data.indices("train")
        chosen = rows[:: max(1, len(rows) // self.images)][: self.images]
        with torch.no_grad():
            views = method.preview_views(data.images(chosen).to(pl_module.device), torch.Generator().manual_seed(0))
        images = {title: x.float().cpu().numpy() for title, x in views.items()}
        log_figure(trainer, "views", lambda: views_figure(images, source=data.name, synthetic=data.synthetic))

    def state_dict(self) -> dict[str, Any]:
        """Whether the figure has been drawn."""
        return {"done": self.done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.done = state_dict["done"]
