"""What the network is shown: the first thing to look at when a pretraining does not learn."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from fewlabels.callbacks.figures import log_figure
from fewlabels.figures.views import views_figure


class ViewsFigure(Callback):
    """Save `views.png` in the first epoch: originals above, and below them their views as the network sees them.

    Args:
        images: Number of columns.
    """

    def __init__(self, images: int = 8) -> None:
        self.images, self.done = images, False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw once."""
        if self.done or not trainer.is_global_zero:
            return
        self.done = True
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        method: Any = pl_module
        rows = datamodule.indices("train")
        chosen = rows[:: max(1, len(rows) // self.images)][: self.images]
        with torch.no_grad():
            shown = method.show(datamodule.images(chosen).to(pl_module.device), torch.Generator().manual_seed(0))
        pictures = {name: x.float().cpu().numpy() for name, x in shown.items()}
        log_figure(trainer, "views", views_figure(pictures, synthetic=datamodule.synthetic, source=datamodule.name))

    def state_dict(self) -> dict[str, Any]:
        """Whether it has been drawn."""
        return {"done": self.done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Whether it had been drawn."""
        self.done = state_dict["done"]
