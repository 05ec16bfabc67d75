"""Methods learn: short trainings with fixed seeds end clearly above chance, or above the untrained network."""

import json

import pytest

from fewlabels.cli.app import compose_config
from fewlabels.training.fit import train

SIMCLR = (
    "method=simclr", "data=plankton", "data.source=synthetic", "data.size=32", "data.batch_size=64", "data.unseen=null",
    "data.val_fraction=0.3", "data.test_fraction=0", "data.seed=0", "method.optimizer.lr=0.016",
    "method.optimizer.warmup_epochs=1", "trainer=cpu", "trainer.max_epochs=10", "trainer.precision=32-true",
    "trainer.enable_progress_bar=false", "logger=csv", "callbacks.embedding_plots=null",
    "callbacks.representation_quality=null", "callbacks.preview_views=null", "callbacks.probes.max_samples=5000",
)  # fmt: skip


@pytest.mark.slow
def test_a_siamese_network_orders_the_points_of_spirals(run):
    directory = run("pretrain", "run", "method=siamese", "data=spirals", "logger=csv", "trainer=cpu",
                    "callbacks.probes=null")  # fmt: skip
    assert json.loads((directory / "results.json").read_text())["test/spearman"] >= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_simclr_learns_classes_of_plankton_without_labels(
    tmp_path, environment, monkeypatch, lightning_log_levels, seed
):
    """Measured gain in kNN accuracy over the untrained network, 9 classes: 0.15 and 0.12; half of it is required."""
    monkeypatch.setenv("FEWLABELS_CACHE", environment["FEWLABELS_CACHE"])
    config = compose_config(*SIMCLR, f"seed={seed}")
    config["backbone"] = {"_target_": "tiny_network.tiny_network"}
    train(config, tmp_path / "run")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["val/knn_accuracy"] >= results["val/knn_accuracy_untrained"] + 0.06
    assert results["val/loss"] < results["val/loss_chance"] - 0.25
