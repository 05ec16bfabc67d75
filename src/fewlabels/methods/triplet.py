"""Triplet: a supervised baseline; an image should be closer to images of its class than to others."""

from typing import Any

import torch
from torch import Tensor

from fewlabels.core.batch import Batch
from fewlabels.core.distributed import gather_with_gradient, world_size
from fewlabels.core.errors import UserError
from fewlabels.methods.base import Method
from fewlabels.methods.views import RandomViews


class Triplet(Method):
    """FaceNet's triplet loss with semi-hard negatives (Schroff et al. 2015, §3.1 and 3.2), by pytorch-metric-learning.

    Distances are between normalised embeddings. Triplets are formed within the global batch.

    Args:
        views: Augmentation of training images.
        margin: α, a distance; 0.2 in the paper.
        warmup_epochs: Epochs that use all triplets; later ones use semi-hard triplets only, whose negative is farther
            than the positive by less than the margin.
        shared: `backbone`, `optimizer` and `seed`, see `Method`.

    Raises:
        UserError: The margin is outside (0, 2), or the number of epochs is negative.
    """

    min_batch_size = 3
    supervised = True

    def __init__(self, *, views: RandomViews, margin: float = 0.2, warmup_epochs: int = 5, **shared: Any) -> None:
        from pytorch_metric_learning.losses import TripletMarginLoss
        from pytorch_metric_learning.miners import TripletMarginMiner

        super().__init__(**shared)
        if not 0 < margin < 2:
            raise UserError(f"method.margin={margin}: give a distance between 0 and 2, such as 0.2.")
        if warmup_epochs < 0:
            raise UserError(f"method.warmup_epochs={warmup_epochs}: give a number of epochs, 0 or more.")
        self.views, self.margin, self.warmup_epochs = views, margin, warmup_epochs
        self.loss = TripletMarginLoss(margin=margin)
        self.miner = TripletMarginMiner(margin=margin, type_of_triplets="semihard")

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Compute the loss over the global batch; outside training, over all triplets of this rank's batch."""
        x = self.views(batch.x, generator) if self.training else batch.x
        z, y = self.embed(x).float(), batch.y
        if self.training and world_size() > 1:
            z, y = gather_with_gradient(z), gather_with_gradient(y)
        mine = self.training and self.current_epoch >= self.warmup_epochs
        with torch.autocast(z.device.type, enabled=False):
            triplets = self.miner(z, y) if mine else None
            loss = self.loss(z, y, triplets)
        return {"loss": loss, "loss_chance": z.new_full((), self.margin)}
