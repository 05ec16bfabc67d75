"""Finetuning: supervised training of a classifier on a backbone, pretrained or not."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import CatMetric

from fewlabels.core.batch import Batch
from fewlabels.core.distributed import world_size
from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import DataModule
from fewlabels.core.optim import ParameterGroup
from fewlabels.methods.base import Method
from fewlabels.methods.views import RandomViews
from fewlabels.probing.classification_metrics import Predictions, scores


class Finetune(Method):
    """A linear classifier on the backbone; both are trained.

    While the backbone is frozen, the head is trained on embeddings that are computed once, of the images without
    augmentation.

    Args:
        views: Augmentation of training images.
        backbone_lr: Learning rate of the backbone as a fraction of the head's; 0 freezes it, batch norms included.
        unfreeze_after: Epochs in which only the head is trained and the backbone is frozen.
        label_smoothing: Fraction of the target that is spread over all classes (Szegedy et al. 2016, §7).
        balanced: Weight classes by the inverse of their number of labels.
        shared: `backbone`, `optimizer` and `seed`, see `Method`.

    Raises:
        UserError: A fraction or a number of epochs is out of range.
    """

    supervised = True
    weights: Tensor

    def __init__(
        self,
        *,
        views: RandomViews,
        backbone_lr: float = 1.0,
        unfreeze_after: int = 0,
        label_smoothing: float = 0.0,
        balanced: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        if not 0 <= backbone_lr < math.inf:
            raise UserError(f"method.backbone_lr={backbone_lr}: give a number of at least 0, such as 0.1.")
        if not 0 <= label_smoothing < 1:
            raise UserError(f"method.label_smoothing={label_smoothing}: give a number of at least 0 and below 1.")
        if unfreeze_after < 0:
            raise UserError(f"method.unfreeze_after={unfreeze_after}: give a number of epochs, 0 or more.")
        self.views, self.label_smoothing, self.balanced = views, label_smoothing, balanced
        self.backbone_lr, self.unfreeze_after = backbone_lr, unfreeze_after
        if not backbone_lr:
            self.backbone.requires_grad_(False)
        self.predictions: Predictions | None = None  # of the split evaluated last
        self.cached: Tensor | None = None  # [N, D] embeddings of the table's labelled training rows; others are NaN
        self.outputs = {name: CatMetric(nan_strategy="disable") for name in ("logits", "labels", "index")}

    def set_classes(self, classes: Sequence[str], counts: Sequence[int]) -> None:
        """Build the head and the class weights."""
        super().set_classes(classes, counts)
        self.head = nn.Linear(self.backbone.dim, len(classes))
        nn.init.zeros_(self.head.weight)  # all classes start equally likely, whatever the scale of the embeddings
        nn.init.zeros_(self.head.bias)
        weights = torch.tensor(counts).float().clamp_min(1).reciprocal()
        self.register_buffer("weights", weights / weights.mean() if self.balanced else torch.ones(len(classes)))

    @property
    def frozen(self) -> bool:
        """Whether the backbone is frozen in this epoch."""
        return not self.backbone_lr or self.current_epoch < self.unfreeze_after

    def parameter_groups(self, steps_per_epoch: int) -> list[ParameterGroup]:
        """The backbone, or its layers, with learning rates of their own, unless it is never trained."""
        if not self.backbone_lr:
            return []
        start = self.unfreeze_after * steps_per_epoch
        parts = super().parameter_groups(steps_per_epoch) or [ParameterGroup([*self.backbone.parameters()], 1.0)]
        return [ParameterGroup(part.parameters, self.backbone_lr * part.lr_factor, start) for part in parts]

    def on_train_start(self) -> None:
        """Set the mode here too: a run resumed within an epoch has no start of that epoch."""
        super().on_train_start()
        self.on_train_epoch_start()

    def on_train_epoch_start(self) -> None:
        """Keep a frozen backbone in eval mode, so that its batch norm statistics do not change; embed its images."""
        self.backbone.train(not self.frozen)
        if not self.frozen:
            self.cached = None
        elif self.cached is None:
            self.cached = self._embed_labelled(self.trainer.datamodule)  # type: ignore[attr-defined]

    def _embed_labelled(self, data: DataModule) -> Tensor:
        rows = data.labelled()
        embeddings = torch.full((len(data.labels), self.backbone.dim), torch.nan, device=self.device)
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            for batch in data.loader(rows):
                embeddings[batch.index.to(self.device)] = self.embed(batch.x.to(self.device)).float()
        return embeddings

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Drop the zero gradients of a frozen backbone, of which the optimizer would keep moments."""
        if self.frozen:
            self.backbone.zero_grad(set_to_none=True)
        super().on_before_optimizer_step(optimizer)

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Compute the cross-entropy; at chance level, all classes are equally likely."""
        if self.training and self.frozen:
            logits = self.head(self._cached_embeddings(batch.index)).float()
        else:
            logits = self.head(self.embed(self.views(batch.x, generator) if self.training else batch.x)).float()
        if not self.training:
            for name, value in (("logits", logits), ("labels", batch.y), ("index", batch.index)):
                self.outputs[name].to(self.device).update(value.float())
        smoothing = self.label_smoothing if self.training else 0.0
        return {
            "loss": F.cross_entropy(logits, batch.y, weight=self.weights, label_smoothing=smoothing),
            "loss_chance": logits.new_full((), math.log(logits.shape[1])),
            "accuracy": (logits.argmax(1) == batch.y).float().mean(),
        }

    def _cached_embeddings(self, rows: Tensor) -> Tensor:
        assert self.cached is not None
        z = self.cached[rows]
        if world_size() > 1 and self.backbone_lr:  # DDP expects a gradient of every parameter in every step
            z = z + 0.0 * torch.stack([parameter.sum() for parameter in self.backbone.parameters()]).sum()
        return z

    def _log_means(self, split: str) -> None:
        super()._log_means(split)
        logits, labels, index = (self.outputs[name].compute() for name in ("logits", "labels", "index"))
        for metric in self.outputs.values():
            metric.reset()
        if not logits.isfinite().all():
            raise UserError(
                f"The network's predictions on the {split} split are not finite: the training has diverged. Lower "
                "method.optimizer.lr, or raise method.optimizer.warmup_epochs."
            )
        order = index.argsort()  # independent of the number of ranks
        self.predictions = Predictions(logits[order].cpu(), labels[order].long().cpu(), index[order].long().cpu())
        self.log_dict({f"{split}/{name}": value for name, value in scores(self.predictions).items()})
