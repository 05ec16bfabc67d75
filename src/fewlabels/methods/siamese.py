"""Siamese network: predict from the distance of two embeddings whether two samples form a positive pair."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fewlabels.core.batch import Batch
from fewlabels.core.interfaces import DataModule, is_points
from fewlabels.core.knn_graph import draw_pairs, hop_distances, knn_graph
from fewlabels.core.losses import PAIR_CHANCE, pair_loss
from fewlabels.methods.base import Method
from fewlabels.methods.views import RandomViews


class Siamese(Method):
    """One network embeds both samples of a pair; a linear layer on |z1 − z2| classifies it (Koch et al. 2015, §3.1).

    Points: a positive is close to the anchor in the neighbour graph, a negative is not. Images: two views of an image
    are a positive pair, views of two images a negative one.

    Args:
        views: Augmentation of images; None for points.
        k: Neighbours of each point in the graph.
        cutoff: Maximum number of hops in the graph between the points of a positive pair.
        shared: `backbone`, `optimizer` and `seed`, see `Method`.
    """

    def __init__(self, *, views: RandomViews | None, k: int = 6, cutoff: int = 5, **shared: Any) -> None:
        super().__init__(**shared)
        self.views = views  # type: ignore[assignment] # points have none
        self.k, self.cutoff = k, cutoff
        self.min_batch_size = 2 if views else 1  # a negative is another image of the batch
        self.head = nn.Linear(self.backbone.dim, 1)
        nn.init.constant_(self.head.weight, -1 / self.backbone.dim)  # before training, closer already means more likely
        nn.init.ones_(self.head.bias)

    def setup(self, stage: str) -> None:
        """Build the neighbour graphs of points."""
        data: DataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        if is_points(data):
            splits = ("train", "val", "test")
            self.build_graphs({split: (data.indices(split), data.points(split)) for split in splits})

    def build_graphs(self, splits: dict[str, tuple[NDArray[np.int64], NDArray[np.float32]]]) -> None:
        """Build one neighbour graph per split, so that no pair mixes points of two splits.

        Args:
            splits: Name to rows int64 [n] and points float32 [n, D]; the rows of all splits are 0 … N − 1.

        Raises:
            UserError: A split has too few points.
        """
        count = sum(len(rows) for rows, _ in splits.values())
        hops = np.zeros((count, count), np.int16)  # 0 marks neither positive nor negative pairs
        points = np.zeros((count, self.backbone.channels), np.float32)
        for rows, coordinates in splits.values():
            points[rows] = coordinates
            if len(rows):
                hops[np.ix_(rows, rows)] = hop_distances(knn_graph(coordinates, self.k), self.cutoff)
        self.points, self.hops = torch.from_numpy(points), torch.from_numpy(hops)

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Compute the cross-entropy over one positive and one negative pair of each sample."""
        if batch.x.dim() == 2:
            z, positive, negative = self._embed_points(batch, generator)
        else:
            views = [self.views(batch.x, generator) for _ in range(2)]
            z, positive = self.embed(torch.cat(views)).float().chunk(2)
            negative = positive.roll(1, dims=0)[len(positive) == 1 :]  # the last validation batch may hold one image
        distances = torch.cat([(z - positive).abs(), (z[: len(negative)] - negative).abs()])
        with torch.autocast(distances.device.type, enabled=False):  # bfloat16 is too coarse for close points
            logits = self.head(distances).squeeze(1)
        same = torch.arange(len(logits), device=logits.device) < len(z)
        return {
            "loss": pair_loss(logits, same),
            "loss_chance": logits.new_full((), PAIR_CHANCE),
            "pair_accuracy": ((logits > 0) == same).float().mean(),
        }

    def _embed_points(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Embed the anchors, and a positive and a negative of each, in float32; [B, D] each."""
        positive, negative = draw_pairs(self.hops, batch.index.cpu(), self.cutoff, generator)
        partners = self.points[torch.cat([positive, negative])].to(batch.x.device)
        with torch.autocast(batch.x.device.type, enabled=False):
            return self.embed(torch.cat([batch.x, partners])).chunk(3)
