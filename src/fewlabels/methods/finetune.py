"""Finetuning: a network that may have been pretrained learns the classes from the labels that there are."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import CatMetric

from fewlabels.batch import Batch
from fewlabels.errors import UserError
from fewlabels.methods.base import Method
from fewlabels.metrics import Answers, scores
from fewlabels.optim import Slow
from fewlabels.views import RandomViews


class Finetune(Method):
    """A linear classifier on the backbone, and the backbone with it.

    Args:
        views: Light changes that leave an image's class the same, in training alone.
        backbone_lr: Rate of the backbone as a share of the head's; 0 freezes it, its batch norms included.
        unfreeze_after: Epochs in which the head learns alone, on a backbone that stands still.
        label_smoothing: Share of the target that is spread over all classes (Szegedy et al. 2016, §7).
        balanced: Weight classes by the inverse of their number of labels, so that rare ones count as much.
        shared: `backbone`, `optimizer` and `seed`, see `Method`.

    Raises:
        UserError: A share or a number of epochs that is out of range.
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
        for name, value, most in (("backbone_lr", backbone_lr, math.inf), ("label_smoothing", label_smoothing, 1)):
            if not 0 <= value < most:
                raise UserError(f"method.{name}={value}: give a number of at least 0{' below 1' if most == 1 else ''}.")
        if unfreeze_after < 0:
            raise UserError(f"method.unfreeze_after={unfreeze_after}: give a number of epochs, 0 or more.")
        self.views, self.label_smoothing, self.balanced = views, label_smoothing, balanced
        self.backbone_lr, self.unfreeze_after = backbone_lr, unfreeze_after
        if not backbone_lr:
            self.backbone.requires_grad_(False)
        self.answers: Answers | None = None  # of the part that was looked at last
        self.told = {name: CatMetric(nan_strategy="disable") for name in ("logits", "truth", "index")}

    def learn(self, classes: Sequence[str], counts: Sequence[int]) -> None:
        """Make the head."""
        super().learn(classes, counts)
        self.head = nn.Linear(self.backbone.dim, len(classes))
        nn.init.zeros_(self.head.weight)  # every class is as likely at first, whatever the scale of the embeddings
        nn.init.zeros_(self.head.bias)
        weights = torch.tensor(counts).float().clamp_min(1).reciprocal()
        self.register_buffer("weights", weights / weights.mean() if self.balanced else torch.ones(len(classes)))

    @property
    def frozen(self) -> bool:
        """Whether the backbone stands still in this epoch."""
        return not self.backbone_lr or self.current_epoch < self.unfreeze_after

    def slow(self, steps_per_epoch: int) -> Slow | None:
        """The backbone."""
        return (
            Slow(self.backbone, self.backbone_lr, self.unfreeze_after * steps_per_epoch) if self.backbone_lr else None
        )

    def on_train_start(self) -> None:
        """As at the start of an epoch, which a run that goes on in mid-epoch does not have."""
        super().on_train_start()
        self.on_train_epoch_start()

    def on_train_epoch_start(self) -> None:
        """A backbone that stands still keeps its batch norms' statistics too."""
        self.backbone.train(not self.frozen)

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross-entropy; its chance level is that of answering every class alike."""
        x = self.views(batch.x, generator) if self.training else batch.x
        logits = self.head(self.embed(x)).float()
        if not self.training:
            for name, value in (("logits", logits), ("truth", batch.y), ("index", batch.index)):
                self.told[name].to(self.device).update(value.float())
        smoothing = self.label_smoothing if self.training else 0.0
        return {
            "loss": F.cross_entropy(logits, batch.y, weight=self.weights, label_smoothing=smoothing),
            "loss_chance": logits.new_tensor(math.log(logits.shape[1])),
            "accuracy": (logits.argmax(1) == batch.y).float().mean(),
        }

    def _log_means(self, split: str) -> None:
        super()._log_means(split)
        logits, truth, index = (self.told[name].compute() for name in ("logits", "truth", "index"))
        for metric in self.told.values():
            metric.reset()
        if not logits.isfinite().all():
            raise UserError(
                f"The network's answers to the {split} images are not finite: the training has diverged. Lower "
                "method.optimizer.lr, or raise method.optimizer.warmup_epochs."
            )
        order = index.argsort()  # the same for any number of processes
        self.answers = Answers(logits[order].cpu(), truth[order].long().cpu(), index[order].long().cpu())
        self.log_dict({f"{split}/{name}": value for name, value in scores(self.answers).items()})
