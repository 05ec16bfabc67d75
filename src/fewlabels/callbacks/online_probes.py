"""Probes during training: how well the embeddings predict validation labels, compared with the untrained network."""

import copy
from typing import Any, cast

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from fewlabels.callbacks.access import data_of, embed_samples
from fewlabels.probing.classifiers import NEIGHBOURS
from fewlabels.probing.embeddings import Embeddings, calibrate_batch_norms, sample
from fewlabels.probing.probes import knn_accuracy, linear_accuracy


class OnlineProbes(Callback):
    """Log `val/knn_accuracy` and `val/linear_accuracy` every few epochs and after the last, and `…_untrained`.

    Beside each stands `…_se`, its binomial standard error, and `val/probes_n`, the number n of labelled validation
    images; the error is √(q(1 − q)/(n + 4)) with q = (np + 2)/(n + 4), which is not 0 at 100% (Agresti and Coull 1998).
    The probes are those of evaluation (`probing.classifiers`). They run on the first rank over fixed samples of both
    splits, so that no image is counted twice, and are trained on the labels that `data.label_fraction` leaves; without
    labels, nothing is logged. The untrained network is measured with its initial batch norms, and with batch norms
    calibrated on the same samples; the better accuracy counts.

    Args:
        every_n_epochs: Epochs between two measurements.
        neighbours: k of the kNN probe.
        max_samples: Number of labelled training samples, at most; of validation samples, a fifth of it.
    """

    def __init__(self, every_n_epochs: int = 10, neighbours: int = NEIGHBOURS, max_samples: int = 2000) -> None:
        self.every_n_epochs, self.neighbours, self.max_samples = every_n_epochs, neighbours, max_samples
        self.untrained: nn.Module | None = None
        self.baseline: dict[str, float] = {}
        self._initial_weights: dict[str, Any] | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the untrained network; it is measured at the first measurement, so that training starts at once."""
        if trainer.is_global_zero and (self._initial_weights or trainer.ckpt_path is None):
            untrained = cast("nn.Module", copy.deepcopy(pl_module.backbone))
            if self._initial_weights:  # resumed before the measurement: the module already has trained weights
                untrained.load_state_dict(self._initial_weights)
            self.untrained = untrained

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, if due."""
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
                initial = self._measure(trainer, pl_module)
                self._calibrate(trainer, pl_module)
                calibrated = self._measure(trainer, pl_module)
                self.baseline = {name: max(value, calibrated[name]) for name, value in initial.items()}
            finally:
                pl_module.backbone, self.untrained = trained, None
        metrics |= {f"{name}_untrained": value for name, value in self.baseline.items() if name.endswith("accuracy")}
        pl_module.log_dict({f"val/{name}": value for name, value in metrics.items()}, rank_zero_only=True)

    def _measure(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        data = data_of(trainer)
        parts: list[Embeddings] = []
        val = data.indices("val")
        val = val[np.asarray(data.labels)[val] >= 0]
        for rows, limit in ((data.labelled(), self.max_samples), (val, self.max_samples // 5)):
            chosen = sample(rows, limit)
            if not len(chosen):
                return {}
            context = trainer.precision_plugin.forward_context()
            parts.append(embed_samples(trainer, pl_module, chosen, context))
        knn, linear = knn_accuracy(*parts, neighbours=self.neighbours), linear_accuracy(*parts)
        if np.isnan(knn):  # labels of one class
            return {}
        n = len(parts[1])
        errors = {
            f"{name}_se": float(np.sqrt((n * p + 2) * (n * (1 - p) + 2) / (n + 4) ** 3))
            for name, p in (("knn_accuracy", knn), ("linear_accuracy", linear))
        }
        return {"knn_accuracy": knn, "linear_accuracy": linear, "probes_n": float(n)} | errors

    def _calibrate(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Calibrate the batch norms of the untrained network, which is in place of the trained one."""
        data, method = data_of(trainer), cast("Any", pl_module)
        rows = np.random.default_rng(0).permutation(sample(data.labelled(), self.max_samples))
        if len(rows):
            context = trainer.precision_plugin.forward_context()
            with context:
                calibrate_batch_norms(
                    method.backbone, (method.prepare(batch.x.to(pl_module.device)) for batch in data.loader(rows))
                )

    def state_dict(self) -> dict[str, Any]:
        """The untrained network's accuracies, and until they are measured its weights."""
        return {"baseline": self.baseline, "untrained": self.untrained and self.untrained.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.baseline, self._initial_weights = state_dict["baseline"], state_dict["untrained"]
