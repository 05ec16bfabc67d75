"""ArcFace: a supervised baseline, a classifier by angles with a margin."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fewlabels.core.batch import Batch
from fewlabels.core.errors import UserError
from fewlabels.methods.base import Method
from fewlabels.methods.views import RandomViews


class ArcFace(Method):
    """Additive Angular Margin Loss for Deep Face Recognition (Deng et al. 2019, §3.1, eq. 3).

    The loss is pytorch-metric-learning's.

    Args:
        views: Augmentation of training images.
        margin: m, in degrees; 28.6 (0.5 radians) in the paper.
        scale: s, the norm of the rescaled embeddings; 64 in the paper.
        shared: `backbone`, `optimizer` and `seed`, see `Method`.

    Raises:
        UserError: The margin is outside [0, 90) degrees, or the scale is not positive.
    """

    supervised = True

    def __init__(self, *, views: RandomViews, margin: float = 28.6, scale: float = 64.0, **shared: Any) -> None:
        super().__init__(**shared)
        if not 0 <= margin < 90:
            raise UserError(f"method.margin={margin}: give degrees from 0 to below 90; 28.6 is usual.")
        if not 0 < scale < math.inf:
            raise UserError(f"method.scale={scale}: give a number above 0; 64 is usual.")
        self.views, self.margin, self.scale = views, margin, scale

    def set_classes(self, classes: Sequence[str], counts: Sequence[int]) -> None:
        """Build the loss, which holds one weight vector per class."""
        from pytorch_metric_learning.losses import ArcFaceLoss

        super().set_classes(classes, counts)
        self.loss = ArcFaceLoss(len(classes), self.backbone.dim, margin=self.margin, scale=self.scale)

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Compute the loss of this rank's images, with the margin in validation too."""
        x = self.views(batch.x, generator) if self.training else batch.x
        z = self.embed(x).float()
        with torch.autocast(z.device.type, enabled=False):
            loss = self.loss(z, batch.y)
            predicted = self.loss.get_logits(z).argmax(1)
        return {
            "loss": loss,
            "loss_chance": z.new_full((), self.chance_loss),
            "accuracy": (predicted == batch.y).float().mean(),
        }

    @property
    def chance_loss(self) -> float:
        """The loss of an embedding orthogonal to all class vectors; the margin lowers the true class's logit."""
        penalty = self.scale * math.sin(math.radians(self.margin))
        return penalty + math.log(math.exp(-penalty) + len(self.classes) - 1)
