"""SIGTERM, Ctrl-C and preemption save first: what a cluster or an impatient user sends costs no more than one step."""

import logging
import signal
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

log = logging.getLogger(__name__)
PATIENCE = 1.0
"""Seconds."""


class SaveOnSignal(Callback):
    """On SIGTERM or Ctrl-C, finish the step, write `checkpoints/last.ckpt`, and exit with 128 + the signal's number.

    A signal to any rank stops all of them at the same step. A second one, `PATIENCE` seconds later or more, ends the
    run at once. SIGUSR2, by which submitit is told that its job is preempted or out of time, is handed on to it once
    all is saved: it queues the job again.
    """

    def __init__(self) -> None:
        self.received, self.when = 0, 0.0
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over from Lightning, whose handlers would stop without saving."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._receive)
        if callable(signal.getsignal(signal.SIGUSR2)):
            self._before[signal.SIGUSR2] = signal.signal(signal.SIGUSR2, self._receive)

    def _receive(self, number: int, _: Any) -> None:
        if number == signal.SIGUSR2 or (self.received == signal.SIGUSR2 and number == signal.SIGTERM):
            self.received = signal.SIGUSR2  # SLURM sends both, in any order
            return
        # A terminal sends Ctrl-C to every process, and the launcher hands it on to its workers: that is one signal
        if self.received and time.monotonic() - self.when > PATIENCE:
            raise KeyboardInterrupt
        if not self.received:
            self.received, self.when = number, time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Stop here, if any rank was told to."""
        if not trainer.strategy.reduce_boolean_decision(bool(self.received), all=False):
            return
        preempted = trainer.strategy.reduce_boolean_decision(self.received == signal.SIGUSR2, all=False)
        number = signal.SIGUSR2 if preempted else self.received or signal.SIGTERM
        queue_again = self._before.get(number)
        self._give_back()
        trainer.save_checkpoint(Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt")
        name, place = signal.Signals(number).name, trainer.default_root_dir
        log.info("Stopped by %s at step %d; go on with resume=%s", name, trainer.global_step, place)
        if preempted and callable(queue_again):
            queue_again(number, None)  # exits in the first process; were the others to fail, the job would, too
            raise SystemExit(0)
        raise SystemExit(128 + number)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let signals be again what they were, and hand on a preemption that came after the last step."""
        queue_again = self._before.get(signal.SIGUSR2)
        self._give_back()
        if self.received == signal.SIGUSR2 and callable(queue_again):
            queue_again(signal.SIGUSR2, None)

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
