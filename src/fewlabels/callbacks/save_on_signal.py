"""Save a checkpoint when the run is stopped by SIGTERM, Ctrl-C or preemption; at most one step is lost."""

import logging
import signal
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from fewlabels.callbacks.checkpointing import is_accumulating

log = logging.getLogger(__name__)
AGREE_EVERY = 10
"""Optimizer steps between two times that several GPUs ask each other for signals, since all wait for the answer."""
FORCE_AFTER = 1.0
"""Seconds after the first signal from which a second one ends the run without saving."""


class SaveOnSignal(Callback):
    """On SIGTERM or Ctrl-C, finish the optimizer step, write `checkpoints/last.ckpt`, exit with 128 + its number.

    A signal to any rank stops all ranks at the same step. A second signal, `FORCE_AFTER` seconds later or more, ends
    the run at once. SIGUSR2 means to submitit that its job is preempted or out of time: after saving, submitit's
    handler is called, which requeues the job.
    """

    def __init__(self) -> None:
        self.received, self.received_at = 0, 0.0
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's signal handlers, which would stop without saving."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = signal.signal(number, self._receive)
        if callable(signal.getsignal(signal.SIGUSR2)):
            self._handlers[signal.SIGUSR2] = signal.signal(signal.SIGUSR2, self._receive)

    def _receive(self, number: int, _: Any) -> None:
        if number == signal.SIGUSR2 or (self.received == signal.SIGUSR2 and number == signal.SIGTERM):
            self.received = signal.SIGUSR2  # SLURM sends SIGTERM too, in any order
            return
        # A terminal sends Ctrl-C to every process, and the launcher forwards it to its workers: together one signal
        if self.received and time.monotonic() - self.received_at > FORCE_AFTER:
            raise KeyboardInterrupt
        if not self.received:
            self.received, self.received_at = number, time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop, if any rank has received a signal; gradients that are being accumulated are used first."""
        if is_accumulating(trainer, batch_idx):
            return
        several_gpus = trainer.world_size > 1 and pl_module.device.type != "cpu"
        if several_gpus and trainer.global_step % AGREE_EVERY:
            return
        if not trainer.strategy.reduce_boolean_decision(bool(self.received), all=False):
            return
        preempted = trainer.strategy.reduce_boolean_decision(self.received == signal.SIGUSR2, all=False)
        number = signal.SIGUSR2 if preempted else self.received or signal.SIGTERM
        requeue = self._handlers.get(number)
        self._restore_handlers()
        trainer.save_checkpoint(Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt")
        name, directory = signal.Signals(number).name, trainer.default_root_dir
        log.info("Stopped by %s at step %d. To continue: resume=%s", name, trainer.global_step, directory)
        if preempted and callable(requeue):
            requeue(number, None)  # exits on rank 0; the other ranks must not fail either, or the job would
            raise SystemExit(0)
        raise SystemExit(128 + number)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the signal handlers, and forward a preemption that came after the last step."""
        requeue = self._handlers.get(signal.SIGUSR2)
        self._restore_handlers()
        if self.received == signal.SIGUSR2 and callable(requeue):
            requeue(signal.SIGUSR2, None)

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
