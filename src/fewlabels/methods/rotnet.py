"""RotNet: predict by which angle an image was rotated."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewlabels.core.batch import Batch
from fewlabels.core.errors import UserError
from fewlabels.methods.base import Method
from fewlabels.methods.views import RandomViews, rotations


class RotNet(Method):
    """Unsupervised Representation Learning by Predicting Image Rotations (Gidaris et al. 2018).

    Every image is in the batch in all its rotations (§3.1), so a batch of B images costs `rotations` × B forward
    passes. The task needs images with a canonical orientation.

    Args:
        views: Augmentation, drawn once per image before the rotations; must not rotate or flip vertically itself.
        rotations: 4 (steps of 90°), 2 (180°) or 3 (120°).
        shared: `backbone`, `optimizer` and `seed`, see `Method`.

    Raises:
        UserError: Another number of rotations, or views that rotate or flip vertically.
    """

    def __init__(self, *, views: RandomViews, rotations: int = 4, **shared: Any) -> None:
        super().__init__(**shared)
        if rotations not in (2, 3, 4):
            raise UserError(f"method.rotations={rotations}: give 4 (steps of 90°), 3 (120°) or 2 (180°).")
        if views.degrees or views.flips[1]:
            raise UserError(
                f"method.views: degrees={views.degrees:g} and vertical_flip={views.flips[1]:g}, but views for RotNet "
                "must not change the orientation, which it predicts. Set method.views.degrees=0 and "
                "method.views.vertical_flip=0."
            )
        self.views, self.count = views, rotations
        self.head = nn.Linear(self.backbone.dim, rotations)

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Compute the cross-entropy over the rotations; outside training, images are rotated without augmentation."""
        x = self.views(batch.x, generator) if self.training else batch.x
        x = self.prepare(rotations(x, self.count))
        targets = torch.arange(self.count, device=x.device).repeat_interleave(len(batch.x))
        logits = self.head(self.backbone(x)).float()
        return {
            "loss": F.cross_entropy(logits, targets),
            "loss_chance": logits.new_full((), math.log(self.count)),
            "rotation_accuracy": (logits.argmax(1) == targets).float().mean(),
        }

    def preview_views(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """One view of each image, in all its rotations."""
        rotated = rotations(self.views(x, generator), self.count).chunk(self.count)
        return {"original": x / 255} | {f"{i * 360 // self.count}°": view for i, view in enumerate(rotated)}
