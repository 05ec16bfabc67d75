"""Softmax: a classifier, trained on the labels of the classes that are seen; a baseline for what needs no labels."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewlabels.batch import Batch
from fewlabels.methods.base import Method
from fewlabels.views import RandomViews


class Softmax(Method):
    """Cross-entropy over a linear layer on the backbone; what serves afterwards is the backbone's embedding.

    Args:
        views: What may change in an image without making it another.
        shared: `backbone`, `optimizer` and `seed`, see `Method`.
    """

    supervised = True

    def __init__(self, *, views: RandomViews, **shared: Any) -> None:
        super().__init__(**shared)
        self.views = views

    def learn(self, classes: Sequence[str], counts: Sequence[int]) -> None:
        """Make the head."""
        super().learn(classes, counts)
        self.head = nn.Linear(self.backbone.dim, len(classes))

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross-entropy of this rank's images."""
        x = self.views(batch.x, generator) if self.training else batch.x
        logits = self.head(self.embed(x)).float()
        return {
            "loss": F.cross_entropy(logits, batch.y),
            "loss_chance": logits.new_tensor(math.log(len(self.classes))),
            "accuracy": (logits.argmax(1) == batch.y).float().mean(),
        }
