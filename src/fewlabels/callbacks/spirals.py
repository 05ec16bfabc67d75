"""What a 1-D embedding makes of the spirals: one figure and one number against the truth, and how it was taught."""

from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from fewlabels.callbacks.figures import log_figure
from fewlabels.embeddings import extract
from fewlabels.figures.spirals import embedding_figure, graph_figure, pairs_figure
from fewlabels.graph import draw_pairs, hop_distances, knn_graph


class SpiralFigures(Callback):
    """At the end: |Spearman| on test points, and figures of the embedding, the neighbour graph and a batch's pairs.

    Args:
        pairs: Anchors whose pairs are drawn.
    """

    def __init__(self, pairs: int = 30) -> None:
        self.pairs = pairs

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the three figures."""
        if not trainer.is_global_zero:
            return
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        if len(points := datamodule.points("test")):
            log_figure(trainer, "embedding", embedding_figure(points, self._embed(trainer, pl_module)[:, 0]))
        train, method = datamodule.points("train"), pl_module
        graph = knn_graph(train, getattr(method, "k", 6))
        log_figure(trainer, "graph", graph_figure(train, graph))
        cutoff = getattr(method, "cutoff", 5)
        anchors = torch.arange(0, len(train), max(1, len(train) // self.pairs))[: self.pairs]
        hops = torch.from_numpy(hop_distances(graph, cutoff))
        positive, negative = draw_pairs(hops, anchors, cutoff, torch.Generator().manual_seed(0))
        log_figure(trainer, "pairs", pairs_figure(train, anchors.numpy(), positive.numpy(), negative.numpy()))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log `test/spearman`: how nearly the embedding orders held-out points as the curve does, either way round."""
        from scipy.stats import spearmanr

        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        embedding = self._embed(trainer, pl_module)
        if embedding.shape[1] == 1:
            value = abs(float(spearmanr(embedding[:, 0], datamodule.position("test")).statistic))
            pl_module.log("test/spearman", value, rank_zero_only=True)

    def _embed(self, trainer: Trainer, method: Any) -> np.ndarray:
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        return extract(method.embed, datamodule.loader("test"), method, method.device).vectors
