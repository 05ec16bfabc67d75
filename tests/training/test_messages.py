"""Log messages before and after a run."""

import logging
import sys

import pytest
import torch
from torch import nn

from fewlabels.training.messages import announce, describe_init, summarise_run

RESULTS = {
    "epochs": 3, "seconds": 61.2, "seed": 0, "val/loss": 1.234, "val/loss_chance": 5.5, "val/knn_accuracy": 0.5,
    "val/knn_accuracy_untrained": 0.25,
}  # fmt: skip


def test_a_summary_has_the_results_and_the_next_commands(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["src/pretrain.py"])
    lines = summarise_run(RESULTS, tmp_path, synthetic=True, resumable=True)
    assert lines[:4] == [
        "Trained 3 epochs in 1 min 1 s (seed 0).",
        "val loss 1.234 (chance level 5.500)",
        "val kNN accuracy: 50.0% (before training 25.0%)",
        "SYNTHETIC images: these numbers say nothing about real ones. Real images: data.root=FOLDER",
    ]
    assert lines[-1] == f"Train longer: python src/pretrain.py resume={tmp_path} trainer.max_epochs=6"


def test_a_summary_leaves_out_what_does_not_apply(tmp_path):
    text = "\n".join(summarise_run(RESULTS, tmp_path, synthetic=False, resumable=False))
    assert "SYNTHETIC" not in text
    assert "resume=" not in text
    assert "Figures" not in text
    (tmp_path / "figures").mkdir()
    assert f"Figures: {tmp_path / 'figures'}" in summarise_run(RESULTS, tmp_path, synthetic=False, resumable=False)


@pytest.mark.parametrize(("metrics", "line"), [
    ({"test/spearman": 0.99987}, "test |Spearman| of the 1-D embedding and the true position: 0.9999 (best 1)"),
    ({"test/rotation_accuracy": 0.722, "test/loss_chance": 1.3862944},
     "test rotation accuracy: 72.2% (chance level 25%)"),
    ({"test/accuracy": 0.5, "test/balanced_accuracy": 0.4, "test/macro_f1": 0.3333, "test/calibration_error": 0.1},
     "test accuracy 50.0%, balanced accuracy 40.0%, macro F1 0.333, calibration error 0.100"),
])  # fmt: skip
def test_each_kind_of_run_has_its_test_line(tmp_path, metrics, line):
    assert line in summarise_run(RESULTS | metrics, tmp_path, synthetic=False, resumable=False)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Linear(4, 3), nn.Linear(3, 2)


@pytest.mark.parametrize(("checkpoint", "weights", "text"), [
    ("runs/x", None, "Loaded 2 backbone parameters and batch-norm statistics from runs/x. New: head.weight 2×3, "
                     "head.bias 2."),
    (None, "imagenet", "Loaded 2 backbone parameters and batch-norm statistics from torchvision's imagenet weights."),
    (None, None, "Training from scratch: 2 backbone parameters and head.weight 2×3, head.bias 2 are randomly "
                 "initialised."),
])  # fmt: skip
def test_initial_weights_are_described(checkpoint, weights, text):
    config = {"checkpoint": checkpoint, "backbone": {"weights": weights}}
    assert describe_init(config, Classifier()).startswith(text)


def test_a_run_that_cannot_be_resumed_starts_from_the_first_step(caplog):
    class Backbone(nn.Linear):
        description = {"name": "mlp"}  # noqa: RUF012

    class Fake:
        name, batch_size, max_epochs, world_size, precision = "spirals", 150, 3, 1, "32-true"
        backbone = Backbone(2, 1)

        class strategy:  # noqa: N801
            root_device = torch.device("cpu")

    with caplog.at_level(logging.INFO, "fewlabels"):
        announce({"resume": "runs/x"}, Fake(), Fake(), Fake(), None)
    first, second = (record.getMessage() for record in caplog.records)
    assert first.endswith("3 epochs, batch size 1 x 150 on cpu, precision 32-true")
    assert second == "That run has no checkpoint to resume from: starting from the first step."
