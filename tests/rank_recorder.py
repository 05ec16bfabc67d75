"""A callback for tests of trainings on several processes."""

import json
from pathlib import Path

from lightning.pytorch import Callback


class RankRecorder(Callback):
    """Write the settings of each rank to `rank<r>.json`; on rank 1 raise if the method's temperature is `fail_at`."""

    def __init__(self, fail_at=None):
        self.fail_at = fail_at

    def on_train_start(self, trainer, pl_module):
        settings = {"temperature": pl_module.temperature, "batch_size": trainer.datamodule.batch_size}
        (Path(trainer.default_root_dir) / f"rank{trainer.global_rank}.json").write_text(json.dumps(settings))

    def on_train_batch_end(self, trainer, pl_module, *_):
        if trainer.global_rank == 1 and pl_module.temperature == self.fail_at:
            raise ValueError("rank 1 fails on purpose")
