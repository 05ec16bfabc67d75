"""Checkpoints: atomic writes, `last.ckpt`, and checkpoints of earlier versions."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, Timer
from lightning.pytorch.plugins.io import TorchCheckpointIO

from fewlabels.core.atomic_io import atomic_write
from fewlabels.core.checkpoints import upgrade_checkpoint
from fewlabels.core.errors import UserError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints atomically, so that a kill or a full disk leaves the previous one intact."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save to a temporary file, flush to disk, rename.

        Raises:
            OSError: The disk is full, or another file system error.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()  # writing to a file, torch.save would replace an OSError by a RuntimeError
        torch.save(checkpoint, buffer)
        with atomic_write(path) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load a checkpoint; names of earlier versions, and the former place of a moved run, are replaced.

        The time that the run has taken is left out: trainer.max_time counts from each start and resumption.
        """
        checkpoint = upgrade_checkpoint(super().load_checkpoint(path, *args, **kwargs))
        checkpoint.get("callbacks", {}).pop(Timer().state_key, None)
        return _relocated(checkpoint, Path(path).parent)


def _relocated(checkpoint: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Give ModelCheckpoint's state the present folder, or it would forget the best value of a run that was moved."""
    for state in checkpoint.get("callbacks", {}).values():
        if not (isinstance(state, dict) and state.get("dirpath")):
            continue
        state["dirpath"] = str(folder)
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[name] = state.get(name) and str(folder / Path(state[name]).name)
        best = state.get("best_k_models") or {}
        state["best_k_models"] = {str(folder / Path(file).name): value for file, value in best.items()}
    return checkpoint


def is_accumulating(trainer: Trainer, batch_idx: int) -> bool:
    """Whether gradients of this batch wait for further batches before an optimizer step."""
    last = batch_idx + 1 == trainer.num_training_batches
    return not last and (batch_idx + 1) % trainer.accumulate_grad_batches != 0


class LastCheckpoint(Checkpoint):
    """Write `checkpoints/last.ckpt` every few epochs, after the last one, and where a limit ends the run within one.

    ModelCheckpoint's `save_last` skips epochs that are not among the best. Lightning runs a `Checkpoint` after all
    other callbacks, so the checkpoint holds their state at the end of the epoch.

    Args:
        every_n_epochs: Epochs between two checkpoints; a killed run loses at most as many.

    Raises:
        UserError: `every_n_epochs` is below 1.
    """

    def __init__(self, every_n_epochs: int = 1) -> None:
        if every_n_epochs < 1:
            raise UserError(f"callbacks.last.every_n_epochs={every_n_epochs}: give a number of epochs, at least 1.")
        self.every_n_epochs = every_n_epochs
        self._stopping, self._within_epoch = False, -1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save where `trainer.max_time` or `max_steps` ends the run within an epoch: the rest of it is still to do.

        At the end of the epoch Lightning would count it as completed. A stop while gradients are being accumulated
        waits for the optimizer step, or they would be lost.
        """
        stopping, waiting = trainer.should_stop or self._stopping, is_accumulating(trainer, batch_idx)
        self._stopping, trainer.should_stop = stopping and waiting, stopping and not waiting
        allowed = trainer.current_epoch >= (trainer.min_epochs or 0) and trainer.global_step >= (trainer.min_steps or 0)
        ends = (trainer.should_stop and allowed) or trainer.global_step >= trainer.max_steps > 0
        if ends and not waiting and batch_idx + 1 < trainer.num_training_batches:
            self._within_epoch = trainer.global_step
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, if due."""
        epoch = trainer.current_epoch + 1
        last = trainer.should_stop or epoch == trainer.max_epochs or trainer.global_step >= trainer.max_steps > 0
        if (last or epoch % self.every_n_epochs == 0) and self._within_epoch != trainer.global_step:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt")


def drop_optimizer_state(file: Path) -> None:
    """Remove the optimizer state from the checkpoint of a finished run; it is up to two thirds of the file."""
    checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    del checkpoint["optimizer_states"]
    AtomicCheckpointIO().save_checkpoint(checkpoint, file)
