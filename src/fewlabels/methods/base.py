"""Base class of all methods: seeded random draws, logging, the optimizer, and the description in checkpoints."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torchmetrics import MeanMetric

from fewlabels.core.backbones import Backbone, layers
from fewlabels.core.batch import Batch
from fewlabels.core.distributed import rank, step_seed, world_size
from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import DataModule
from fewlabels.core.optim import OptimizerConfig, ParameterGroup
from fewlabels.methods.size_schedule import SizeSchedule
from fewlabels.methods.views import RandomViews

VALIDATION, TEST = 1, 2
"""Random streams of validation and test; training uses stream 0."""
CHECK_EVERY = 20
"""Steps between two checks of the training loss on a GPU."""


class Method(LightningModule):
    """A way to train a backbone. A subclass implements `step`, which computes the loss of a batch.

    Args:
        backbone: The network to train; its output is the embedding.
        optimizer: Optimizer, learning rate and schedule.
        seed: Seed of all random draws. A draw depends on (seed, epoch, step, rank) only, so that a resumed run repeats
            the draws of an uninterrupted one.
        size_schedule: Sizes in pixels that training images are shrunk to, see `SizeSchedule`; None: not shrunk.
    """

    min_batch_size = 1
    """Samples per device and step that the loss needs."""
    views: RandomViews
    """Random augmentation of images; None for points."""
    supervised = False
    """Whether `step` reads labels: training, validation and test then use labelled images only."""

    def __init__(
        self,
        *,
        backbone: Backbone,
        optimizer: OptimizerConfig,
        seed: int,
        size_schedule: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.size_schedule = SizeSchedule(size_schedule, backbone) if size_schedule is not None else None
        self.total_steps = math.inf  # optimizer steps of the run
        self.backbone = backbone.to(memory_format=torch.channels_last)
        self.optimizer_config, self.seed = optimizer, seed
        self.config: dict[str, Any] = {}  # of the run; saved in checkpoints
        self.fingerprint: str | None = None  # of the set of images; saved in checkpoints
        self.trained_on: dict[str, Any] | None = None  # a training record; saved in checkpoints
        self.means: dict[str, MeanMetric] = {}
        self.gradient_norms: list[Tensor] = []  # of the epoch's steps; on the device, since reading them waits for it
        self.learning_rates: list[float] = []  # of the latest step: head's, then backbone's if it has others
        self.classes: list[str] = []

    def set_classes(self, classes: Sequence[str], counts: Sequence[int]) -> None:
        """Set the classes before training; a method with one output per class builds its head here.

        Args:
            classes: Class names that `Batch.y` indexes into.
            counts: Labelled training images of each class.
        """
        self.classes = list(classes)

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Compute the loss of one batch.

        Args:
            batch: This rank's samples.
            generator: Source of all random draws, on the CPU.

        Returns:
            Scalars to log, by name, each a mean over this rank's batch: `loss`, `loss_chance` (the loss at chance
            level), and further metrics.
        """
        raise NotImplementedError

    def preview_views(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Augment images uint8 [B, C, S, S] as `step` does; title to float [B, C, S, S] in [0, 1]."""
        return {"original": x / 255, "view 1": self.views(x, generator), "view 2": self.views(x, generator)}

    def embed(self, x: Tensor) -> Tensor:
        """Embed raw samples, uint8 [B, C, H, W] or float [B, 2], as [B, D]."""
        return self.backbone(self.prepare(x))

    def prepare(self, x: Tensor) -> Tensor:
        """Normalise for the backbone; images become channels-last, which convolutions compute faster."""
        x = self.backbone.normalise(x)
        return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x

    def on_train_start(self) -> None:
        """If the checkpoint was saved within an epoch, skip the batches of that epoch that were already trained on."""
        # Lightning does not restore a stateful loader that `estimated_stepping_batches` has created ahead of time
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        sampler: Any = self.trainer.train_dataloader.sampler  # type: ignore[union-attr]
        sampler.start = 0 if progress.is_last_batch else progress.current.ready

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Train on this rank's part of the global batch."""
        seed = step_seed(self.seed, self.current_epoch, batch_idx, rank())
        torch.manual_seed(seed)  # dropout and stochastic depth use the global generator
        if self.size_schedule:
            batch = batch._replace(x=self.size_schedule.shrink(batch.x, self.global_step, self.total_steps))
        metrics = self.step(batch, torch.Generator().manual_seed(seed))
        self._check_loss(metrics["loss"], batch_idx)
        self.log_dict(
            {f"train/{name}": value for name, value in metrics.items()},
            on_step=False, on_epoch=True, sync_dist=world_size() > 1, batch_size=len(batch.x),
        )  # fmt: skip
        return metrics

    def on_train_batch_end(self, *_: Any) -> None:
        """End the size schedule after the last step."""
        if self.size_schedule and self.global_step >= self.total_steps:
            self.size_schedule.finish(self.trainer.datamodule, self.device)  # type: ignore[attr-defined]

    def _check_loss(self, loss: Tensor, batch_idx: int) -> None:
        """Raise UserError if the training loss is not finite; on a GPU every `CHECK_EVERY` steps, since it waits."""
        if loss.device.type != "cpu" and batch_idx % CHECK_EVERY:
            return
        if not torch.isfinite(loss):
            raise UserError(
                f"The training loss is {loss.item()} in epoch {self.current_epoch + 1}, step {self.global_step}: the "
                f"training diverged. Start a new run with a lower method.optimizer.lr (now {self.optimizer_config.lr}) "
                "or with more method.optimizer.warmup_epochs."
            )

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Note the learning rate and the total L2 norm of the gradients: over all ranks, unscaled, not yet clipped."""
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        self.gradient_norms.append(torch.nn.utils.get_total_norm(gradients))
        self.learning_rates = [group["lr"] for group in optimizer.param_groups[::2]]  # weights, with their biases' rate

    def on_train_epoch_end(self) -> None:
        """Log the mean gradient norm of the epoch's steps, and the learning rates of its last step."""
        norms = torch.stack(self.gradient_norms) if self.gradient_norms else torch.empty(0)
        norms = norms[norms.isfinite()]  # fp16 skips steps whose gradients overflow
        if len(norms):
            self.log("train/gradient_norm", norms.mean(), rank_zero_only=True)
        if self.learning_rates:
            self.log("train/lr", self.learning_rates[0], rank_zero_only=True)
        if len(self.learning_rates) > 1:
            self.log("train/lr_backbone", self.learning_rates[-1], rank_zero_only=True)
        self.gradient_norms = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Compute the loss on validation data; the random draws are equal in all epochs and for any number of ranks."""
        self._evaluate("val", VALIDATION, batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Compute the loss on test data, as in validation."""
        self._evaluate("test", TEST, batch, batch_idx)

    def _evaluate(self, split: str, stream: int, batch: Batch, batch_idx: int) -> None:
        number = batch_idx * world_size() + rank()  # of the batch in the whole split: ranks take turns
        generator = torch.Generator().manual_seed(step_seed(self.seed, 0, number, 0, stream))
        for name, value in self.step(batch, generator).items():
            key = f"{split}_{name}"
            if key not in self.means:
                # A NaN replaced by NaN: the other strategies leave it out, or ignore the weights
                self.means[key] = MeanMetric(nan_strategy=math.nan).to(self.device)
            self.means[key].update(value, weight=len(batch.x))

    def on_validation_epoch_end(self) -> None:
        """Log the means over the samples of all ranks."""
        self._log_means("val")

    def on_test_epoch_end(self) -> None:
        """Log the means over the samples of all ranks."""
        self._log_means("test")

    def _log_means(self, split: str) -> None:
        for key, mean in self.means.items():
            if key.startswith(f"{split}_"):
                self.log(key.replace("_", "/", 1), mean.compute())
                mean.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer and its schedule for this run's number of steps and global batch size."""
        steps = self.total_steps = int(self.trainer.estimated_stepping_batches)
        data: DataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        accumulated = self.trainer.accumulate_grad_batches
        steps_per_epoch = math.ceil(self.trainer.num_training_batches / accumulated)
        optimizer, scheduler = self.optimizer_config.build(
            self,
            global_batch=data.batch_size * self.trainer.world_size * accumulated,
            steps_per_epoch=steps_per_epoch,
            total_steps=steps,
            groups=self.parameter_groups(steps_per_epoch),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def parameter_groups(self, steps_per_epoch: int) -> list[ParameterGroup]:
        """Parameters with a learning rate or a starting step of their own: with `layer_decay`, the backbone's layers.

        Args:
            steps_per_epoch: Optimizer steps per epoch.
        """
        decay = self.optimizer_config.layer_decay
        if decay == 1:
            return []
        parts = layers(self.backbone)
        return [ParameterGroup(part, decay ** (len(parts) - depth)) for depth, part in enumerate(parts)]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what `load_backbone` needs, in plain containers that `weights_only=True` can read."""
        description = {
            "backbone": self.backbone.description,
            "method": type(self).__name__,
            "seed": self.seed,
            "config": self.config,
            "images": self.fingerprint,
            "classes": self.classes,
            "trained_on": self.trained_on,
        }
        checkpoint["fewlabels"] = checkpoint.get("fewlabels", {}) | description
