"""A callback that `throughput.py` adds to a run, to know when its first training step has ended."""

import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback


class FirstStep(Callback):
    """Write the time at the end of the first training step, in seconds as `time.time()`, to `file`."""

    def __init__(self, file: str) -> None:
        self.file = Path(file)

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Write the time, once."""
        if not self.file.exists():
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.file.write_text(repr(time.time()))
