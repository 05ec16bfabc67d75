"""ArcFace: a classifier by angles with a margin, trained on the labels of the classes that are seen."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fewlabels.batch import Batch
from fewlabels.errors import UserError
from fewlabels.methods.base import Method
from fewlabels.views import RandomViews


class ArcFace(Method):
    """Additive Angular Margin Loss for Deep Face Recognition (Deng et al. 2019, §3.1, eq. 3).

    The loss is pytorch-metric-learning's.

    Args:
        views: What may change in an image without making it another.
        margin: m, in degrees; 28.6 (0.5 radians) in the paper.
        scale: s, the length that embeddings are given; 64 in the paper.
        shared: `backbone`, `optimizer` and `seed`, see `Method`.

    Raises:
        UserError: A margin outside 0 to 90 degrees, or a scale that is not positive.
    """

    supervised = True

    def __init__(self, *, views: RandomViews, margin: float = 28.6, scale: float = 64.0, **shared: Any) -> None:
        super().__init__(**shared)
        if not 0 <= margin < 90:
            raise UserError(f"method.margin={margin}: give degrees from 0 to below 90; 28.6 is usual.")
        if not 0 < scale < math.inf:
            raise UserError(f"method.scale={scale}: give a number above 0; 64 is usual.")
        self.views, self.margin, self.scale = views, margin, scale

    def learn(self, classes: Sequence[str], counts: Sequence[int]) -> None:
        """Make the classes' directions, which the loss holds."""
        from pytorch_metric_learning.losses import ArcFaceLoss

        super().learn(classes, counts)
        self.loss = ArcFaceLoss(len(classes), self.backbone.dim, margin=self.margin, scale=self.scale)

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The loss of this rank's images; in validation too it is the one with the margin."""
        x = self.views(batch.x, generator) if self.training else batch.x
        z = self.embed(x).float()
        with torch.autocast(z.device.type, enabled=False):
            loss = self.loss(z, batch.y)
            told = self.loss.get_logits(z).argmax(1)
        return {
            "loss": loss,
            "loss_chance": z.new_tensor(self.chance),
            "accuracy": (told == batch.y).float().mean(),
        }

    @property
    def chance(self) -> float:
        """The loss of embeddings at right angles to all directions: the margin counts against the true class alone."""
        handicap = self.scale * math.sin(math.radians(self.margin))
        return handicap + math.log(math.exp(-handicap) + len(self.classes) - 1)
