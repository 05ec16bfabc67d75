"""Figures of the embedding space during training: UMAP, and a pair plot of principal components."""

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from fewlabels.callbacks.access import data_of, embed_samples
from fewlabels.callbacks.log_figure import log_figure
from fewlabels.figures.embedding_plots import pair_plot_figure, umap_figure
from fewlabels.probing.embeddings import sample
from fewlabels.probing.projections import MIN_SAMPLES, all_equal, principal_components, umap_projection


class EmbeddingPlots(Callback):
    """Save `umap.png` and `pair_plot.png` of validation images every few epochs, replacing the previous ones.

    The loggers receive every version. `evaluate.py` draws the other splits too.

    Args:
        every_n_epochs: Epochs between two versions; UMAP takes a few seconds for a thousand images.
        max_samples: Number of images, at most; a random sample that stays the same.
    """

    def __init__(self, every_n_epochs: int = 20, max_samples: int = 1000) -> None:
        self.every_n_epochs, self.max_samples = every_n_epochs, max_samples

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, if due."""
        epoch = trainer.current_epoch + 1
        if not trainer.is_global_zero or epoch % self.every_n_epochs:
            return
        data = data_of(trainer)
        rows = sample(data.indices("val"), self.max_samples)
        if len(rows) < MIN_SAMPLES:
            return
        embeddings = embed_samples(trainer, pl_module, rows)
        if all_equal(embeddings.vectors):  # RepresentationQuality warns of a collapse
            return
        text = f"validation images of {data.name}; UMAP of the embeddings, 15 neighbours, cosine, seed 0; epoch {epoch}"
        panels = {"validation": np.ones(len(embeddings), bool)}
        named = embeddings.labels, data.classes
        log_figure(trainer, "umap", lambda: umap_figure(
            panels, umap_projection(embeddings.vectors), *named, text=text, synthetic=data.synthetic))  # fmt: skip
        log_figure(trainer, "pair_plot", lambda: pair_plot_figure(
            *principal_components(embeddings.vectors), *named, synthetic=data.synthetic))  # fmt: skip
