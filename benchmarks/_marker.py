"""A callback that `throughput.py` adds to a run, to know when its first training step was over."""

import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback


class FirstStep(Callback):
    """Write the time of day (seconds, as time.time() gives it) at the end of the first step to `file`."""

    def __init__(self, file: str) -> None:
        self.file = Path(file)

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Look at the clock, once."""
        if not self.file.exists():
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.file.write_text(repr(time.time()))
