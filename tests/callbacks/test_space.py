"""What is drawn and measured of the space while training goes on, and that it leaves the training as it was."""

import logging

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from fewlabels.backbones import vision
from fewlabels.callbacks.health import HealthMonitor
from fewlabels.callbacks.space import SpaceFigures
from fewlabels.data.plankton import Plankton
from fewlabels.methods.simclr import SimCLR
from fewlabels.optim import Recipe
from fewlabels.views import RandomViews

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended.*"),
    pytest.mark.filterwarnings(r"ignore::FutureWarning:(lightning|torch)\..*"),
]


@pytest.fixture
def fit(tmp_path):
    def run(*callbacks, epochs=2, collapse=False):
        torch.manual_seed(0)
        backbone = vision(name="mobilenet_v3_small", channels=1, size=32, mean=[0.5], std=[0.25])
        method = SimCLR(
            backbone=backbone, optimizer=Recipe(name="sgd", lr=0.01), seed=0, views=RandomViews(), temperature=0.2,
            head={"layers": 1, "hidden": 8, "outputs": 8, "batch_norm": False},
        )  # fmt: skip
        if collapse:
            list(backbone.body.children())[-1].register_forward_hook(lambda *_: torch.ones(len(_[2]), backbone.dim))
        data = Plankton(
            root=None, source="synthetic", size=32, channels=1, batch_size=32, seed=0, val_fraction=0.2,
            test_fraction=0.1, mean=[0.5], std=[0.25], cache_dir=str(tmp_path / "cache"), url="", archive_bytes=None,
        )  # fmt: skip
        trainer = Trainer(
            accelerator="cpu", devices=1, max_epochs=epochs, logger=False, enable_checkpointing=False,
            num_sanity_val_steps=0, enable_progress_bar=False, enable_model_summary=False, limit_train_batches=1,
            use_distributed_sampler=False, default_root_dir=str(tmp_path), callbacks=list(callbacks),
        )  # fmt: skip
        trainer.fit(method, data)
        return trainer, method.state_dict()

    return run


def test_the_space_is_drawn_when_it_is_time_and_the_training_is_not_changed(fit, tmp_path):
    _, plain = fit()
    _, watched = fit(SpaceFigures(every_n_epochs=2, max_samples=60), HealthMonitor(every_n_epochs=1, max_samples=40))
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"umap.png", "components.png"}
    assert all(torch.equal(value, watched[name]) for name, value in plain.items())


def test_nothing_is_drawn_before_it_is_time(fit, tmp_path):
    fit(SpaceFigures(every_n_epochs=3), epochs=2)
    assert not (tmp_path / "figures").exists()


def test_health_is_logged(fit):
    trainer, _ = fit(HealthMonitor(every_n_epochs=1, max_samples=40))
    logged = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("health/")}
    assert logged.keys() == {f"health/{name}" for name in ("alignment", "uniformity", "effective_rank", "spread")}
    assert np.isfinite(list(logged.values())).all()


def test_a_collapse_is_warned_of_once(fit, caplog):
    with caplog.at_level(logging.WARNING, "fewlabels"):
        fit(HealthMonitor(every_n_epochs=1, max_samples=40), epochs=3, collapse=True)
    warned = [record.getMessage() for record in caplog.records if "collapsed" in record.getMessage()]
    assert len(warned) == 1
    assert warned[0].startswith("Epoch 1: the network has collapsed")
