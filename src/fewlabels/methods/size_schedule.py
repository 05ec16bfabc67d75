"""Progressive resizing: training on small images first (Tan & Le 2021, EfficientNetV2, section 4)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fewlabels.core.augment_kernels import shrink
from fewlabels.core.backbones import Backbone
from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import DataModule
from fewlabels.probing.embeddings import calibrate_batch_norms

CALIBRATION_BATCHES = 16
"""Batches of training images that batch norms are fitted to at the end."""


class SizeSchedule:
    """Sizes of training images, each for an equal part of a run's optimizer steps.

    Args:
        sizes: In pixels.
        backbone: The network to train.

    Raises:
        UserError: A size is not a whole number, larger than the images, or one that the backbone does not accept.
    """

    def __init__(self, sizes: Sequence[int], backbone: Backbone) -> None:
        valid = isinstance(sizes, Sequence) and len(sizes) and all(isinstance(size, int) and size > 0 for size in sizes)
        full = backbone.size
        if full is None or not valid or max(sizes) > full:
            raise UserError(
                f"data.size_schedule={sizes}: give sizes in pixels, none above data.size={full}, such as "
                f"[{(full or 128) // 2},{full or 128}], or null."
            )
        for size in sizes:
            try:
                backbone.embedding_dim(size)
            except UserError as error:
                raise UserError(
                    f"data.size_schedule={list(sizes)}: the backbone does not accept images of {size} pixels. Leave "
                    "that size out, or give null."
                ) from error
        self.sizes, self.backbone = sizes, backbone

    def size(self, step: int, total_steps: float) -> int:
        """Side of the images in an optimizer step, in pixels."""
        return self.sizes[min(int(len(self.sizes) * step / total_steps), len(self.sizes) - 1)]

    def shrink(self, x: Tensor, step: int, total_steps: float) -> Tensor:
        """Shrink images, uint8 [B, C, S, S], for an optimizer step; to float32 in [0, 1]."""
        return shrink(x, self.size(step, total_steps))

    def finish(self, data: DataModule, device: torch.device) -> None:
        """Fit batch norms to full-size images, unless they are frozen or the last images were of full size."""
        if self.backbone.frozen_norms or self.sizes[-1] == self.backbone.size:
            return
        rows = np.random.default_rng(0).permutation(data.indices("train"))[: CALIBRATION_BATCHES * data.batch_size]
        inputs = (self.backbone.normalise(batch.x.to(device)) for batch in data.loader(rows))
        calibrate_batch_norms(self.backbone, inputs)
