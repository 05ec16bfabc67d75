"""Figures and a metric of points on a curve: how well a 1-D embedding recovers their order, and the training pairs."""

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from fewlabels.callbacks.access import data_of, embed_samples
from fewlabels.callbacks.log_figure import log_figure
from fewlabels.core.interfaces import PointData, is_points
from fewlabels.core.knn_graph import draw_pairs, hop_distances, knn_graph
from fewlabels.figures.spirals import embedding_figure, graph_figure, pairs_figure


class SpiralPlots(Callback):
    """After training, draw the embedding, the neighbour graph and some pairs; in validation and test, log |Spearman|.

    The absolute rank correlation of a 1-D embedding with the position on the curve does not depend on the scale of the
    embedding, as the loss does, so that sweeps compare jobs by that of the validation points.

    Args:
        pairs: Number of anchors whose pairs are drawn.
    """

    def __init__(self, pairs: int = 30) -> None:
        self.pairs = pairs

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the three figures."""
        if not trainer.is_global_zero:
            return
        data = _points_of(trainer)
        if len(points := data.points("test")):
            embedding = embed_samples(trainer, pl_module, "test").vectors[:, 0]
            log_figure(trainer, "embedding", lambda: embedding_figure(points, embedding))
        train = data.points("train")
        graph = knn_graph(train, getattr(pl_module, "k", 6))
        log_figure(trainer, "graph", lambda: graph_figure(train, graph))
        cutoff = getattr(pl_module, "cutoff", 5)
        anchors = torch.arange(0, len(train), max(1, len(train) // self.pairs))[: self.pairs]
        hops = torch.from_numpy(hop_distances(graph, cutoff))
        positive, negative = draw_pairs(hops, anchors, cutoff, torch.Generator().manual_seed(0))
        pairs = (rows.numpy() for rows in (anchors, positive, negative))
        log_figure(trainer, "pairs", lambda: pairs_figure(train, *pairs))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log `val/spearman`."""
        if trainer.is_global_zero and not trainer.sanity_checking:
            _log_spearman(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log `test/spearman`."""
        _log_spearman(trainer, pl_module, "test")


def _log_spearman(trainer: Trainer, pl_module: LightningModule, split: str) -> None:
    from scipy.stats import spearmanr

    position = _points_of(trainer).position(split)
    if len(position) < 2:
        return
    embedding = embed_samples(trainer, pl_module, split).vectors
    if embedding.shape[1] == 1 and np.ptp(embedding) > 0:  # equal embeddings have no order
        value = abs(float(spearmanr(embedding[:, 0], position).statistic))
        pl_module.log(f"{split}/spearman", value, rank_zero_only=True)


def _points_of(trainer: Trainer) -> PointData:
    data = data_of(trainer)
    assert is_points(data), data.modality
    return data
