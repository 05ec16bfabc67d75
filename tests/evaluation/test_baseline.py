"""What the trained network is compared with, and what it is called."""

import copy
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fewlabels.core.checkpoints import load_backbone
from fewlabels.evaluation.baseline import RANDOM_INIT, build_baseline, stronger
from fewlabels.training.build import build_backbone


@pytest.fixture
def initial(context):
    """A network with new weights, for the images of `context`."""
    torch.manual_seed(3)
    node = {"_target_": "fewlabels.core.backbones.vision", "name": "mobilenet_v3_small"}
    return build_backbone(node, context.data)


def test_a_random_network_gets_batch_norms_of_the_training_images(context, initial, monkeypatch):
    monkeypatch.setattr("fewlabels.evaluation.baseline.stronger", lambda calibrated, *_: calibrated)
    parameters = copy.deepcopy(dict(initial.named_parameters()))
    baseline, name = build_baseline({"backbone": {"weights": None}}, initial, context.data, trained=True)
    assert name == RANDOM_INIT == "random init"
    assert not baseline.training
    assert all(torch.equal(parameters[key], value) for key, value in baseline.named_parameters())
    first = next(module for module in baseline.modules() if isinstance(module, torch.nn.BatchNorm2d))
    x = torch.cat([batch.x for batch in context.data.loader("train")])
    convolved = next(m for m in baseline.modules() if isinstance(m, torch.nn.Conv2d))(baseline.normalise(x))
    assert torch.allclose(first.running_mean, convolved.mean((0, 2, 3)), atol=0.02)
    assert torch.allclose(first.running_var, convolved.var((0, 2, 3)), rtol=0.1)
    assert not torch.allclose(first.running_var, torch.ones(len(first.running_var)), atol=0.1)


@pytest.mark.parametrize(
    ("accuracies", "chosen"), [((0.6, 0.5), "initial"), ((0.5, 0.6), "calibrated"), ((0.5, 0.5), "calibrated")]
)
def test_the_stronger_random_network_is_the_baseline(context, initial, monkeypatch, accuracies, chosen):
    found = iter(accuracies)  # of the initial batch norms, then of the calibrated ones
    halves = []
    monkeypatch.setattr(
        "fewlabels.evaluation.baseline.linear_accuracy", lambda *parts: halves.extend(parts) or next(found)
    )
    before = copy.deepcopy(initial.state_dict())
    baseline, _ = build_baseline({"backbone": {"weights": None}}, initial, context.data, trained=True)
    assert all(torch.equal(before[key], value) for key, value in baseline.state_dict().items()) == (chosen == "initial")
    train, test = (set(part.index) for part in halves[:2])
    assert not train & test
    assert train | test <= set(context.data.indices("train"))


def test_without_labels_the_calibrated_network_is_the_baseline(context, initial):
    unlabelled = SimpleNamespace(labelled=lambda: np.array([], np.int64))
    assert stronger(initial, copy.deepcopy(initial), unlabelled) is initial


def test_downloaded_weights_are_named_and_left_as_they_are(context, initial):
    before = copy.deepcopy(initial.state_dict())
    baseline, name = build_baseline({"backbone": {"weights": "imagenet"}}, initial, context.data, trained=True)
    assert name == "imagenet weights"
    assert all(torch.equal(before[key], value) for key, value in baseline.state_dict().items())


def test_a_finetuning_is_compared_with_its_start(context, initial, folder, caplog):
    baseline, name = build_baseline(
        {"checkpoint": str(folder / "run"), "backbone": {}}, initial, context.data, trained=True
    )
    assert name == "start of finetuning: run"
    start = load_backbone(folder / "run").state_dict()
    assert all(torch.equal(start[key], value) for key, value in baseline.state_dict().items())
    with caplog.at_level(logging.WARNING, "fewlabels"):
        gone = build_baseline({"checkpoint": str(folder / "gone"), "backbone": {}}, initial, context.data, trained=True)
    assert gone[1] == RANDOM_INIT
    assert "The baseline is a random network, since the start of the finetuning is gone" in caplog.text


def test_an_evaluation_calls_the_baseline_by_its_name(context):
    assert context.start == RANDOM_INIT
