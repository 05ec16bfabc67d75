"""Checkpoints are whole or not there, and the last one is the last."""

import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from fewlabels.errors import UserError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside and rename, so that a kill or a full disk leaves the previous checkpoint intact."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save in the same directory, flush to the disk, then rename."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            buffer = io.BytesIO()  # torch.save hides a full disk behind an error of its own
            torch.save(checkpoint, buffer)
            with temporary.open("wb") as file:
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


class LastCheckpoint(Checkpoint):
    """Write `checkpoints/last.ckpt` every few epochs and after the last one, however good it is.

    ModelCheckpoint's own `save_last` leaves out the epochs that are not among the best. As a `Checkpoint` this comes
    after all other callbacks, so that their state in it is the epoch's.

    Args:
        every_n_epochs: What a killed run may lose.

    Raises:
        UserError: Not at least 1.
    """

    def __init__(self, every_n_epochs: int = 1) -> None:
        if every_n_epochs < 1:
            raise UserError(f"callbacks.last.every_n_epochs={every_n_epochs}: give a number of epochs, at least 1.")
        self.every_n_epochs = every_n_epochs

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, if it is time."""
        done = trainer.current_epoch + 1
        stops = trainer.should_stop or done == trainer.max_epochs or trainer.global_step >= trainer.max_steps > 0
        if not trainer.fast_dev_run and (stops or done % self.every_n_epochs == 0):  # type: ignore[attr-defined]
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt")


def forget_optimizer(file: Path) -> None:
    """Leave out the optimiser's state, two thirds of a checkpoint, of a run that has ended for good."""
    checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    del checkpoint["optimizer_states"]
    AtomicCheckpointIO().save_checkpoint(checkpoint, file)
