"""How well held-out labels are told while pretraining goes on, beside the untrained network."""

import copy
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from fewlabels.embeddings import Embeddings, extract, sample
from fewlabels.probes import knn_accuracy, linear_accuracy


class OnlineProbes(Callback):
    """Log `val/knn_accuracy` and `val/linear_accuracy` every few epochs and at the end, and `…_untrained` beside them.

    They run on the first process over whole, capped sets, so that no sample is counted twice. The labels are those
    that `data.label_fraction` leaves; without any, nothing is logged.

    Args:
        every_n_epochs: Between two measurements.
        neighbours: k.
        max_samples: At most so many training samples, drawn once, and a fifth as many held-out ones.
    """

    def __init__(self, every_n_epochs: int = 10, neighbours: int = 20, max_samples: int = 2000) -> None:
        self.every_n_epochs, self.neighbours, self.max_samples = every_n_epochs, neighbours, max_samples
        self.untrained: nn.Module | None = None
        self.baseline: dict[str, float] = {}
        self._kept: dict[str, Any] | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the network as it starts; it is measured later, so that training begins at once."""
        if trainer.is_global_zero and (self._kept or trainer.ckpt_path is None):
            untrained: Any = copy.deepcopy(pl_module.backbone)
            if self._kept:  # resumed before it was measured: the module holds trained weights by now
                untrained.load_state_dict(self._kept)
            self.untrained = untrained

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, if it is time."""
        last = trainer.current_epoch + 1 == trainer.max_epochs or trainer.global_step >= trainer.max_steps > 0
        if (
            trainer.sanity_checking
            or not trainer.is_global_zero
            or not (last or (trainer.current_epoch + 1) % self.every_n_epochs == 0)
        ):
            return
        metrics = self._measure(trainer, pl_module)
        if self.untrained is not None:
            trained, pl_module.backbone = pl_module.backbone, self.untrained
            try:
                self.baseline = self._measure(trainer, pl_module)
            finally:
                pl_module.backbone, self.untrained = trained, None
        metrics |= {f"{name}_untrained": value for name, value in self.baseline.items()}
        pl_module.log_dict({f"val/{name}": value for name, value in metrics.items()}, rank_zero_only=True)

    def _measure(self, trainer: Trainer, method: Any) -> dict[str, float]:
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        sets: list[Embeddings] = []
        for indices, limit in (
            (datamodule.labelled(), self.max_samples),
            (datamodule.indices("val"), self.max_samples // 5),
        ):
            chosen = sample(indices, limit)
            if not len(chosen):
                return {}
            context = trainer.precision_plugin.forward_context()
            sets.append(extract(method.embed, datamodule.loader(chosen), method, method.device, context))
        found = {
            "knn_accuracy": knn_accuracy(*sets, neighbours=self.neighbours),
            "linear_accuracy": linear_accuracy(*sets),
        }
        return {name: value for name, value in found.items() if not np.isnan(value)}

    def state_dict(self) -> dict[str, Any]:
        """What is known of the untrained network: its accuracies, or its weights until these are measured."""
        return {"baseline": self.baseline, "untrained": self.untrained and self.untrained.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What was known of it."""
        self.baseline, self._kept = state_dict["baseline"], state_dict["untrained"]
