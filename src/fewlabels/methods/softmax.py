"""Softmax: a supervised baseline, a classifier trained with cross-entropy."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewlabels.core.batch import Batch
from fewlabels.methods.base import Method
from fewlabels.methods.views import RandomViews


class Softmax(Method):
    """Cross-entropy over a linear layer on the backbone.

    Args:
        views: Augmentation of training images.
        shared: `backbone`, `optimizer` and `seed`, see `Method`.
    """

    supervised = True

    def __init__(self, *, views: RandomViews, **shared: Any) -> None:
        super().__init__(**shared)
        self.views = views

    def set_classes(self, classes: Sequence[str], counts: Sequence[int]) -> None:
        """Build the head."""
        super().set_classes(classes, counts)
        self.head = nn.Linear(self.backbone.dim, len(classes))

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Compute the cross-entropy of this rank's images."""
        x = self.views(batch.x, generator) if self.training else batch.x
        logits = self.head(self.embed(x)).float()
        return {
            "loss": F.cross_entropy(logits, batch.y),
            "loss_chance": logits.new_full((), math.log(len(self.classes))),
            "accuracy": (logits.argmax(1) == batch.y).float().mean(),
        }
