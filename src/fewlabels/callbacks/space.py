"""What the space of embeddings looks like while it forms: UMAP and a pair plot of principal components."""

from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from fewlabels.callbacks.figures import log_figure
from fewlabels.embeddings import extract, sample
from fewlabels.figures.projections import components_figure, plane_figure
from fewlabels.projections import principal_components, umap_plane


class SpaceFigures(Callback):
    """Save `umap.png` and `components.png` of held-out images every few epochs, in the place of the ones before.

    The loggers get each of them, so that W&B shows how they change. `evaluate.py` draws all parts of the data.

    Args:
        every_n_epochs: Between two drawings; UMAP takes a few seconds for a thousand images.
        max_samples: At most so many images, drawn once.
    """

    def __init__(self, every_n_epochs: int = 20, max_samples: int = 1000) -> None:
        self.every_n_epochs, self.max_samples = every_n_epochs, max_samples

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, if it is time."""
        done = trainer.current_epoch + 1
        if not trainer.is_global_zero or done % self.every_n_epochs:
            return
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        method: Any = pl_module
        rows = sample(datamodule.indices("val"), self.max_samples)
        if len(rows) < 5:
            return
        found = extract(method.embed, datamodule.loader(rows), method, method.device)
        kind, synthetic = f"held-out images of {datamodule.name}", datamodule.synthetic
        text = f"{kind}; UMAP, 15 neighbours, cosine, seed 0; epoch {done}"
        plane = umap_plane(found.vectors)
        everyone = {"validation": np.ones(len(found), bool)}
        log_figure(trainer, "umap", plane_figure(everyone, plane, found.labels, datamodule.classes, text=text,
                                                 synthetic=synthetic))  # fmt: skip
        components, shares = principal_components(found.vectors)
        figure = components_figure(components, shares, found.labels, datamodule.classes, synthetic=synthetic)
        log_figure(trainer, "components", figure)
