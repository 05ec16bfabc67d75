"""Online probes: measured values, no effect on training, and resuming."""

import copy

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import nn

from fewlabels.callbacks.online_probes import OnlineProbes
from fewlabels.core.backbones import Backbone
from fewlabels.core.optim import OptimizerConfig
from fewlabels.data.spirals import Spirals
from fewlabels.methods.base import Method
from fewlabels.probing.embeddings import calibrate_batch_norms, extract
from fewlabels.probing.probes import knn_accuracy, linear_accuracy
from fewlabels.training.loggers import MetricsCSV

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:Found 1 module.* in eval mode.*"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval.*"),
    pytest.mark.filterwarnings(r"ignore::FutureWarning:(lightning|torch)\..*"),
]
NAMES = tuple(f"val/{probe}_accuracy{when}" for when in ("", "_untrained") for probe in ("knn", "linear"))


class Points(Spirals):
    """Points with their arm as label; records the number of rows of every loader."""

    def __init__(self, *, labelled=True):
        super().__init__(
            n_points=300, noise=0.05, turns=0.5, batch_size=32, seed=0, val_fraction=0.3, test_fraction=0.0
        )
        self.with_labels, self.loaded = labelled, []

    def setup(self, stage=None):
        super().setup(stage)
        self.labels = self.labels if self.with_labels else self.labels * 0 - 1

    def labelled(self):
        return self.indices("train")[self.labels[self.indices("train")] >= 0]

    def loader(self, split_or_indices, batch_size=None):
        self.loaded.append(len(split_or_indices))
        return super().loader(split_or_indices, batch_size)


class FirstCoordinate(Method):
    """Regresses the first coordinate, and records the modes in which the network was trained."""

    def step(self, batch, generator):
        self.modes = [module.training for module in self.backbone.modules()] if self.training else self.modes
        loss = (self.backbone(batch.x) - batch.x[:, :1]).square().mean()
        return {"loss": loss, "loss_chance": loss.new_tensor(1.0)}

    modes = ()


def make_method(*, frozen=False):
    torch.manual_seed(1)
    body = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    backbone = Backbone(body, channels=2, size=None, mean=[0.0], std=[1.0])
    body[1].train(not frozen)
    return FirstCoordinate(
        backbone=backbone, optimizer=OptimizerConfig(name="sgd", lr=0.5, schedule="constant"), seed=0
    )


def make_trainer(folder, *callbacks, epochs=2, **options):
    options = {"logger": False, "num_sanity_val_steps": 0} | options
    return Trainer(
        accelerator="cpu", devices=1, max_epochs=epochs, enable_checkpointing=False, callbacks=list(callbacks),
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        default_root_dir=str(folder), **options,
    )  # fmt: skip


def probe(backbone, data, neighbours):
    sets = [extract(backbone, data.loader(data.indices(split)), backbone) for split in ("train", "val")]
    return knn_accuracy(*sets, neighbours=neighbours), linear_accuracy(*sets)


def logged(trainer):
    return {name: trainer.callback_metrics[name].item() for name in NAMES if name in trainer.callback_metrics}


@pytest.mark.parametrize("sanity_steps", [0, 1])
def test_the_trained_and_the_untrained_network_are_measured(sanity_steps, tmp_path):
    method, data = make_method(), Points()
    untrained = copy.deepcopy(method.backbone)
    trainer = make_trainer(tmp_path, OnlineProbes(1, neighbours=5), epochs=3, num_sanity_val_steps=sanity_steps)
    trainer.fit(method, data)
    rows = np.random.default_rng(0).permutation(data.indices("train"))
    trained, initial = probe(method.backbone, data, 5), probe(untrained, data, 5)
    calibrate_batch_norms(untrained, (batch.x for batch in data.loader(rows)))
    before = tuple(map(max, initial, probe(untrained, data, 5)))
    assert logged(trainer) == pytest.approx(dict(zip(NAMES, (*trained, *before), strict=True)))
    assert trained != before


@pytest.mark.parametrize("frozen", [False, True])
def test_training_is_not_affected(frozen, tmp_path):
    """A backbone left in eval mode, or not restored, would be trained differently."""
    probed, alone = make_method(frozen=frozen), make_method(frozen=frozen)
    backbone = probed.backbone
    make_trainer(tmp_path, OnlineProbes(1)).fit(probed, Points())
    make_trainer(tmp_path).fit(alone, Points())
    assert probed.backbone is backbone
    assert probed.modes == alone.modes == [True, True, True, not frozen, True, True]
    expected = alone.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in probed.state_dict().items())
    assert probed.state_dict()["backbone.body.1.num_batches_tracked"] == (0 if frozen else 2 * (210 // 32))


def test_measurements_are_every_n_epochs_and_after_the_last(tmp_path):
    log = MetricsCSV(str(tmp_path))
    make_trainer(tmp_path, OnlineProbes(every_n_epochs=2), epochs=5, logger=log).fit(make_method(), Points())
    measured = [row["epoch"] for row in log.rows.values() if NAMES[0] in row]
    assert measured == [1, 3, 4]
    assert len({row[NAMES[2]] for row in log.rows.values() if NAMES[2] in row}) == 1


def test_at_most_max_samples_are_embedded(tmp_path):
    data = Points()
    make_trainer(tmp_path, OnlineProbes(max_samples=50), epochs=1).fit(make_method(), data)
    assert data.loaded == [50, 10, 50, 10, 50, 50, 10]  # trained; untrained; calibration of batch norms; untrained


def test_only_labelled_validation_images_count_and_their_number_and_standard_error_are_logged(tmp_path):
    class FewLabels(Points):
        def setup(self, stage=None):
            super().setup(stage)
            self.labels = self.labels.copy()
            self.labels[self.indices("val")[::3]] = -1

    data = FewLabels()
    method = make_method()
    trainer = make_trainer(tmp_path, OnlineProbes(1, max_samples=100), epochs=1)
    trainer.fit(method, data)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert metrics["val/probes_n"] == 20  # a fifth of 100, all labelled: among all 20 sampled, a third would not be
    for probe_name in ("knn", "linear"):
        accuracy = metrics[f"val/{probe_name}_accuracy"]
        assert accuracy * 20 == pytest.approx(round(accuracy * 20), abs=1e-5)
        error = metrics[f"val/{probe_name}_accuracy_se"]
        shifted = (20 * accuracy + 2) / 24  # two more hits and misses: 100% has a standard error, too
        assert error == pytest.approx(np.sqrt(shifted * (1 - shifted) / 24), abs=1e-6)
    assert not any(name.endswith("_se_untrained") for name in metrics)


def test_without_labels_nothing_is_logged(tmp_path):
    trainer = make_trainer(tmp_path, OnlineProbes(1), epochs=1)
    trainer.fit(make_method(), Points(labelled=False))
    assert logged(trainer) == {}


class StopAfter(Callback):
    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.should_stop or trainer.current_epoch + 1 == self.epochs


@pytest.mark.parametrize("interrupted", [1, 3], ids=["before the measurement", "after the measurement"])
def test_a_resumed_run_measures_the_untrained_network(interrupted, tmp_path):
    uninterrupted = make_trainer(tmp_path, OnlineProbes(every_n_epochs=2), epochs=4)
    uninterrupted.fit(make_method(), Points())
    first = make_trainer(tmp_path, OnlineProbes(every_n_epochs=2), StopAfter(interrupted), epochs=4)
    first.fit(make_method(), Points())
    first.save_checkpoint(tmp_path / "a.ckpt")
    resumed = make_trainer(tmp_path, OnlineProbes(every_n_epochs=2), epochs=4)
    resumed.fit(make_method(), Points(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert resumed.current_epoch == 4
    assert logged(resumed) == logged(uninterrupted)
    assert logged(resumed).keys() == set(NAMES)
