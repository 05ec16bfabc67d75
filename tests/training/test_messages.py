"""Log messages before and after a run."""

import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fewlabels.core.optim import OptimizerConfig
from fewlabels.training.messages import announce, change_of_rate, describe_init, summarise_run, train_longer

RESULTS = {
    "epochs": 3, "seconds": 61.2, "seed": 0, "val/loss": 1.234, "val/loss_chance": 5.5, "val/knn_accuracy": 0.5,
    "val/knn_accuracy_untrained": 0.25, "val/knn_accuracy_se": 0.025, "val/probes_n": 400.0,
}  # fmt: skip


def test_a_summary_has_the_results_and_the_next_commands(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["src/pretrain.py"])
    lines = summarise_run(RESULTS, tmp_path, synthetic=True)
    assert lines[:4] == [
        "Trained 3 epochs in 1 min 1 s (seed 0).",
        "val loss 1.234 (chance level 5.500)",
        "val kNN accuracy: 50.0% (standard error 2.5% on 400 images; before training 25.0%)",
        "SYNTHETIC images: these numbers say nothing about real ones. Real images: data.root=FOLDER",
    ]


def test_a_summary_leaves_out_what_does_not_apply(tmp_path):
    text = "\n".join(summarise_run(RESULTS, tmp_path, synthetic=False))
    assert "SYNTHETIC" not in text
    assert "resume=" not in text
    assert "Figures" not in text
    (tmp_path / "figures").mkdir()
    assert f"Figures: {tmp_path / 'figures'}" in summarise_run(RESULTS, tmp_path, synthetic=False)


COSINE = OptimizerConfig(name="sgd", lr=1.0, min_lr_fraction=0.2)
ENDS_AT = (
    "the learning rate goes from 20% of its full value to 60%, where the cosine schedule of {0} epochs is at epoch"
)


@pytest.mark.parametrize(("state", "change", "note"), [
    ((3, 3, 30, -1), " trainer.max_epochs=6", ENDS_AT.format(6) + " 3"), ((3, 5, 30, -1), "", None),
    ((4, 10, 40, 40), " trainer.max_steps=80", ENDS_AT.format(8) + " 4"),
])  # fmt: skip
def test_the_advice_to_train_longer_says_what_the_learning_rate_will_do(monkeypatch, state, change, note):
    monkeypatch.setattr(sys, "argv", ["src/pretrain.py"])
    trainer = SimpleNamespace(
        **dict(zip(("current_epoch", "max_epochs", "global_step", "max_steps"), state, strict=True))
    )
    line = train_longer(trainer, COSINE, Path("run"))
    assert line.startswith(f"Train longer: python src/pretrain.py resume=run{change}")
    assert (note in line) if note else line.endswith("resume=run")


def test_a_constant_rate_continues_and_a_half_done_cosine_is_stretched():
    constant = OptimizerConfig(name="sgd", lr=1.0, schedule="constant")
    assert change_of_rate(constant, 3, 3, 6) == "the learning rate stays constant"
    cosine = OptimizerConfig(name="sgd", lr=1.0)
    text = change_of_rate(cosine, 2, 4, 6)  # (1 + cos(pi / 2)) / 2 and (1 + cos(pi / 3)) / 2
    assert text.startswith("the learning rate goes from 50% of its full value to 75%")


@pytest.mark.parametrize(("metrics", "line"), [
    ({"test/spearman": 0.99987}, "test |Spearman| of the 1-D embedding and the true position: 0.9999 (best 1)"),
    ({"test/rotation_accuracy": 0.722, "test/loss_chance": 1.3862944},
     "test rotation accuracy: 72.2% (chance level 25%)"),
    ({"test/accuracy": 0.5, "test/balanced_accuracy": 0.4, "test/macro_f1": 0.3333, "test/calibration_error": 0.1},
     "test accuracy 50.0%, balanced accuracy 40.0%, macro F1 0.333, calibration error 0.100"),
])  # fmt: skip
def test_each_kind_of_run_has_its_test_line(tmp_path, metrics, line):
    assert line in summarise_run(RESULTS | metrics, tmp_path, synthetic=False)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Linear(4, 3), nn.Linear(3, 2)


@pytest.mark.parametrize(("checkpoint", "weights", "text"), [
    ("runs/x", None, "Loaded 2 backbone parameters and batch-norm statistics from runs/x. New: head.weight 2×3, "
                     "head.bias 2."),
    (None, "imagenet", "Loaded 2 backbone parameters and batch-norm statistics from imagenet weights."),
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
