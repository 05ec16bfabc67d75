"""SimCLR: contrastive learning with two random views of each image."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fewlabels.core.batch import Batch
from fewlabels.core.distributed import world_size
from fewlabels.core.errors import UserError
from fewlabels.core.losses import check_temperature, contrastive_logits, nt_xent_chance, topk_accuracy
from fewlabels.methods.base import Method
from fewlabels.methods.projection_head import projection_head
from fewlabels.methods.views import RandomViews


class SimCLR(Method):
    """A Simple Framework for Contrastive Learning of Visual Representations (Chen et al. 2020).

    Args:
        views: Augmentation; two draws for each image are its positive pair.
        temperature: τ of NT-Xent (§2.1, eq. 1).
        head: `layers`, `hidden`, `outputs` and `batch_norm` of the projection head.
        chunk_size: Images of this rank's batch whose activations are in memory at a time, or None for all. Loss and
            gradient are still those of the full batch: activations are recomputed chunk by chunk in the backward
            pass (gradient caching, Gao et al. 2021, §3). Exact except for batch normalisation, whose statistics are
            those of a chunk.
        shared: `backbone`, `optimizer` and `seed`, see `Method`.

    Raises:
        UserError: The temperature is not positive, or the chunk size is below 2.
    """

    min_batch_size = 2  # the negatives are the other images of the batch

    def __init__(
        self,
        *,
        views: RandomViews,
        temperature: float,
        head: dict[str, Any],
        chunk_size: int | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        check_temperature(temperature)
        if chunk_size is not None and chunk_size < 2:
            raise UserError(f"method.chunk_size={chunk_size}: give at least 2 images, or null for the full batch.")
        self.views, self.temperature, self.chunk_size = views, temperature, chunk_size
        self.head = projection_head(inputs=self.backbone.dim, **head)

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Compute NT-Xent over the global batch; outside training, over this rank's batch."""
        views = [self.prepare(self.views(batch.x, generator)) for _ in range(2)]
        z1, z2 = self.project(torch.cat(views)).chunk(2)
        logits, targets = contrastive_logits(z1, z2, self.temperature, gather=self.training)
        images = len(batch.x) * (world_size() if self.training else 1)
        return {
            "loss": F.cross_entropy(logits, targets),
            "loss_chance": logits.new_full((), nt_xent_chance(images)),
            "contrastive_top1": topk_accuracy(logits, targets, 1),
            "contrastive_top5": topk_accuracy(logits, targets, 5),
        }

    def project(self, x: Tensor) -> Tensor:
        """Apply backbone and head, [M, C, S, S] to [M, outputs]; with `chunk_size`, 2 × chunk_size views at a time."""
        if self.chunk_size is None or not torch.is_grad_enabled():
            return self.head(self.backbone(x))
        context = lambda: (contextlib.nullcontext(), frozen_statistics(self))  # noqa: E731
        encode = nn.Sequential(self.backbone, self.head)
        return torch.cat(
            [checkpoint(encode, c, use_reentrant=False, context_fn=context) for c in x.split(2 * self.chunk_size)]
        )


@contextlib.contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Keep batch norms' running statistics unchanged, so that a recomputed forward pass is not counted twice."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    saved = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    try:
        for norm in norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None
        yield
    finally:
        for norm, (momentum, count) in zip(norms, saved, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
