"""What every method shares: seeded draws, logging under the contract's names, the optimiser, a described checkpoint."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torchmetrics import MeanMetric

from fewlabels.backbones import Backbone
from fewlabels.batch import Batch
from fewlabels.distributed import rank, step_seed, world_size
from fewlabels.optim import Recipe, Slow

VALIDATION, TEST = 1, 2
"""Streams of random numbers beside training's 0."""


class Method(LightningModule):
    """A way to pretrain a backbone. A subclass says what a positive is and writes `step`.

    Args:
        backbone: The network whose embeddings are wanted in the end.
        optimizer: The recipe of rates and steps.
        seed: Of all random draws; they follow from (seed, epoch, step, rank), so that a resumed run repeats them.
    """

    least_batch = 1
    """Images per device and step that the loss needs."""
    supervised = False
    """Whether `step` reads labels: then only labelled images are trained on and asked about."""

    def __init__(self, *, backbone: Backbone, optimizer: Recipe, seed: int) -> None:
        super().__init__()
        self.backbone = backbone.to(memory_format=torch.channels_last)
        self.recipe, self.seed = optimizer, seed
        self.config: dict[str, Any] = {}  # of the whole run, to go into checkpoints, as does
        self.fingerprint: str | None = None  # of the images
        self.means: dict[str, MeanMetric] = {}
        self.classes: list[str] = []

    def learn(self, classes: Sequence[str], counts: Sequence[int]) -> None:
        """Be told, before training, the classes and how many labelled images there are of each.

        A method with an output per class makes it here.
        """
        self.classes = list(classes)

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Compute the loss of one batch.

        Returns:
            Scalars by name: `loss`, `loss_chance` (of a network that knows nothing), and what else is worth
            logging, each a mean over this rank's part of the batch.
        """
        raise NotImplementedError

    def show(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """What the network is shown of the images uint8 [B, C, S, S]: title to float [B, C, S, S] in [0, 1].

        Two views of each, unless the method shows something else.
        """
        views: Any = self.views
        return {"original": x / 255, "view 1": views(x, generator), "view 2": views(x, generator)}

    def embed(self, x: Tensor) -> Tensor:
        """Embed samples as they lie in the store, uint8 [B, C, H, W] or float [B, 2], as [B, D]."""
        return self.backbone(self.prepare(x))

    def prepare(self, x: Tensor) -> Tensor:
        """Normalise for the backbone, in the memory layout that convolutions like."""
        x = self.backbone.normalise(x)
        return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x

    def on_train_start(self) -> None:
        """In a run that was saved in mid-epoch, leave out the batches that the epoch has had."""
        # Lightning would ask a stateful loader, but not once estimated_stepping_batches has made it ahead of time
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        sampler: Any = self.trainer.train_dataloader.sampler  # type: ignore[union-attr]
        sampler.start = 0 if progress.is_last_batch else progress.current.ready

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """One step on this rank's part of the global batch."""
        seed = step_seed(self.seed, self.current_epoch, batch_idx, rank())
        torch.manual_seed(seed)  # dropout and stochastic depth draw from the global generator
        metrics = self.step(batch, torch.Generator().manual_seed(seed))
        self.log_dict(
            {f"train/{name}": value for name, value in metrics.items()},
            on_step=False, on_epoch=True, sync_dist=world_size() > 1, batch_size=len(batch.x),
        )  # fmt: skip
        return metrics

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The same loss on held-out data, with the same draws in every epoch and for any number of processes."""
        self._evaluate("val", VALIDATION, batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """The same on the test part."""
        self._evaluate("test", TEST, batch, batch_idx)

    def _evaluate(self, split: str, stream: int, batch: Batch, batch_idx: int) -> None:
        number = batch_idx * world_size() + rank()  # batches are dealt out in turn
        generator = torch.Generator().manual_seed(step_seed(self.seed, 0, number, 0, stream))
        for name, value in self.step(batch, generator).items():
            key = f"{split}_{name}"
            if key not in self.means:
                self.means[key] = MeanMetric().to(self.device)
            self.means[key].update(value, weight=len(batch.x))

    def on_validation_epoch_end(self) -> None:
        """Log the means over all ranks' samples."""
        self._log_means("val")

    def on_test_epoch_end(self) -> None:
        """Log the means over all ranks' samples."""
        self._log_means("test")

    def _log_means(self, split: str) -> None:
        for key, mean in self.means.items():
            if key.startswith(f"{split}_"):
                self.log(key.replace("_", "/", 1), mean.compute())
                mean.reset()

    def configure_optimizers(self) -> Any:
        """Build the recipe's optimiser and schedule for this run's steps and global batch."""
        steps = int(self.trainer.estimated_stepping_batches)
        datamodule: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        accumulated = self.trainer.accumulate_grad_batches
        steps_per_epoch = math.ceil(self.trainer.num_training_batches / accumulated)
        optimizer, scheduler = self.recipe.build(
            self,
            global_batch=datamodule.batch_size * self.trainer.world_size * accumulated,
            steps_per_epoch=steps_per_epoch,
            total_steps=steps,
            slow=self.slow(steps_per_epoch),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def slow(self, steps_per_epoch: int) -> Slow | None:
        """A part of the network that learns more slowly than the rest, or begins later."""
        return None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what `load_backbone` needs, in plain containers that `weights_only=True` reads."""
        described = {
            "backbone": self.backbone.description,
            "method": type(self).__name__,
            "seed": self.seed,
            "config": self.config,
            "images": self.fingerprint,
            "classes": self.classes,
        }
        checkpoint["fewlabels"] = checkpoint.get("fewlabels", {}) | described
