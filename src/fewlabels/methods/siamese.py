"""Siamese networks: tell from the distance of two embeddings whether two samples belong together."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fewlabels.batch import Batch
from fewlabels.graph import draw_pairs, hop_distances, knn_graph
from fewlabels.losses import PAIR_CHANCE, pair_loss
from fewlabels.methods.base import Method
from fewlabels.views import RandomViews


class Siamese(Method):
    """One network sees both samples of a pair; a linear layer on |z1 − z2| judges them (Koch et al. 2015, §3.1).

    Among points, a positive is near in the neighbour graph and a negative is not. Of images, two views of one are the
    positive, and views of two different ones the negative.

    Args:
        views: What may change in an image without making it another; None for points.
        k: Neighbours of each point in the graph.
        cutoff: Points are near if so many hops apart, or fewer.
        shared: `backbone`, `optimizer` and `seed`, see `Method`.
    """

    def __init__(self, *, views: RandomViews | None, k: int = 6, cutoff: int = 5, **shared: Any) -> None:
        super().__init__(**shared)
        self.views, self.k, self.cutoff = views, k, cutoff
        self.least_batch = 2 if views else 1  # the negative is another image of the batch
        self.head = nn.Linear(self.backbone.dim, 1)
        nn.init.constant_(self.head.weight, -1 / self.backbone.dim)  # from the start, closer means likelier
        nn.init.ones_(self.head.bias)

    def setup(self, stage: str) -> None:
        """Build the neighbour graphs, where the data are points."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if hasattr(data, "points"):
            self.link({split: (data.indices(split), data.points(split)) for split in ("train", "val", "test")})

    def link(self, parts: dict[str, tuple[NDArray[np.int64], NDArray[np.float32]]]) -> None:
        """Build one neighbour graph per part, so that held-out points meet none that was trained on.

        Args:
            parts: Name to rows int64 [n] and points float32 [n, D]; the rows of all parts are 0 … N − 1.

        Raises:
            UserError: A part has too few points.
        """
        count = sum(len(rows) for rows, _ in parts.values())
        hops = np.zeros((count, count), np.int16)  # 0 is neither near nor far: between parts there are no pairs
        points = np.zeros((count, self.backbone.channels), np.float32)
        for rows, part in parts.values():
            points[rows] = part
            if len(rows):
                hops[np.ix_(rows, rows)] = hop_distances(knn_graph(part, self.k), self.cutoff)
        self.points, self.hops = torch.from_numpy(points), torch.from_numpy(hops)

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross-entropy over one positive and one negative pair of each sample."""
        if batch.x.dim() == 2:
            z, positive, negative = self._embed_points(batch, generator)
        else:
            views = [self.views(batch.x, generator) for _ in range(2)]  # type: ignore[misc]
            z, positive = self.embed(torch.cat(views)).float().chunk(2)
            negative = positive.roll(1, dims=0)[len(positive) == 1 :]  # a last, held-out batch may be of one
        distances = torch.cat([(z - positive).abs(), (z[: len(negative)] - negative).abs()])
        with torch.autocast(distances.device.type, enabled=False):  # near points differ by less than bfloat16 can tell
            logits = self.head(distances).squeeze(1)
        near = torch.arange(len(logits), device=logits.device) < len(z)
        return {
            "loss": pair_loss(logits, near),
            "loss_chance": logits.new_tensor(PAIR_CHANCE),
            "pair_accuracy": ((logits > 0) == near).float().mean(),
        }

    def _embed_points(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Embed the anchors, a positive and a negative of each; [B, D] each.

        In float32 always, as in `step`; so small a network would gain nothing from less.
        """
        positive, negative = draw_pairs(self.hops, batch.index.cpu(), self.cutoff, generator)
        partners = self.points[torch.cat([positive, negative])].to(batch.x.device)
        with torch.autocast(batch.x.device.type, enabled=False):
            return self.embed(torch.cat([batch.x, partners])).chunk(3)
