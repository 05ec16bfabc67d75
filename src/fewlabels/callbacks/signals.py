"""SIGTERM saves first: what a cluster or an impatient user sends costs no more than one step."""

import logging
import signal
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

log = logging.getLogger(__name__)


class SaveOnSignal(Callback):
    """On SIGTERM, finish the step, write `checkpoints/last.ckpt` on which `resume=` goes on, and exit with code 143.

    A signal to any rank stops all of them at the same step.
    """

    def __init__(self) -> None:
        self.received = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signal over from Lightning, whose handler would stop without saving."""
        signal.signal(signal.SIGTERM, self._receive)

    def _receive(self, *_: Any) -> None:
        self.received = True

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Stop here, if any rank was told to."""
        if not trainer.strategy.reduce_boolean_decision(self.received, all=False):
            return
        path = Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt"
        trainer.save_checkpoint(path)
        log.info("Stopped by SIGTERM at step %d; go on with resume=%s", trainer.global_step, trainer.default_root_dir)
        raise SystemExit(128 + signal.SIGTERM)
