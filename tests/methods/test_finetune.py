"""Finetuning: frozen and trained parameters, class weights, and metrics that do not depend on the number of ranks."""

import contextlib
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import gloo
from fewlabels.core.backbones import Backbone
from fewlabels.core.batch import Batch
from fewlabels.core.distributed import rank, world_size
from fewlabels.core.errors import UserError
from fewlabels.core.optim import OptimizerConfig
from fewlabels.data.batches import shard_batches
from fewlabels.methods.finetune import Finetune
from fewlabels.methods.views import RandomViews

SIZE = 16


def make_method(counts=(6, 3, 1), layer_decay=1.0, **options):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 8), nn.BatchNorm1d(8))
    backbone = Backbone(body, channels=1, size=SIZE, mean=[0.5], std=[0.25])
    optimizer = OptimizerConfig(name="sgd", lr=0.1, layer_decay=layer_decay)
    method = Finetune(views=RandomViews(), backbone=backbone, optimizer=optimizer, seed=0, **options)
    method.set_classes(["ant", "bee", "cat"], counts)
    return method


class Images:
    """A data module of the images of `make_batch`, of which 0 … 11 are labelled."""

    labels = np.arange(50) % 3

    def labelled(self):
        return np.arange(12)

    def loader(self, rows):
        return [make_batch(part) for part in np.array_split(rows, 2)]


def attach(method):
    """Give a method a trainer on `Images`."""
    precision = SimpleNamespace(forward_context=contextlib.nullcontext)
    method._trainer = SimpleNamespace(datamodule=Images(), precision_plugin=precision, current_epoch=0)
    return method


def make_batch(rows):
    x = torch.randint(0, 256, (50, 1, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    rows = torch.as_tensor(rows)
    return Batch(x[rows], rows % 3, rows)


def test_initially_all_classes_are_equally_likely():
    metrics = make_method().eval().step(make_batch(range(10)), torch.Generator())
    assert metrics["loss"].item() == pytest.approx(math.log(3)) == pytest.approx(metrics["loss_chance"].item())


def test_balanced_weights_are_the_inverse_of_the_label_counts():
    assert torch.allclose(make_method(balanced=True).weights, torch.tensor([1 / 6, 1 / 3, 1]) / 0.5)
    assert torch.equal(make_method().weights, torch.ones(3))


def test_a_learning_rate_of_0_freezes_the_backbone():
    method = make_method(backbone_lr=0.0)
    assert [name for name, p in method.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]
    assert method.parameter_groups(10) == []
    attach(method).on_train_epoch_start()
    assert not method.backbone.training
    assert method.head.training


@pytest.mark.filterwarnings("ignore:You are trying to `self.log:UserWarning")
def test_predictions_that_are_not_finite_are_refused():
    method = make_method().eval()
    nn.init.constant_(method.head.bias, math.nan)
    method.step(make_batch(range(10)), torch.Generator())
    with pytest.raises(UserError, match="predictions on the val split are not finite: the training has diverged"):
        method.on_validation_epoch_end()


def test_a_frozen_backbone_embeds_its_images_once_and_without_augmentation(monkeypatch):
    method = attach(make_method(backbone_lr=0.1, unfreeze_after=1))
    method.on_train_epoch_start()
    batch = make_batch([3, 7, 7, 0])
    expected = method.head(method.embed(batch.x))
    cached = method.cached
    method.on_train_epoch_start()
    assert method.cached is cached
    monkeypatch.setattr(method.backbone, "forward", None)
    monkeypatch.setattr(method, "views", None)
    loss = method.train().step(batch, torch.Generator())["loss"]
    assert loss.item() == pytest.approx(nn.functional.cross_entropy(expected, batch.y, weight=method.weights).item())
    assert cached[12:].isnan().all()


def test_of_several_processes_every_parameter_gets_a_gradient_of_zero(monkeypatch):
    monkeypatch.setattr("fewlabels.methods.finetune.world_size", lambda: 2)
    method = attach(make_method(backbone_lr=0.1, unfreeze_after=1))
    method.train().on_train_epoch_start()
    method.step(make_batch(range(12)), torch.Generator())["loss"].backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in method.backbone.parameters())
    assert method.head.weight.grad.any()
    method.on_before_optimizer_step(torch.optim.SGD(method.parameters(), 0.1))
    assert all(parameter.grad is None for parameter in method.backbone.parameters())


def test_the_backbone_is_trained_after_the_frozen_epochs():
    method = make_method(backbone_lr=0.1, unfreeze_after=1)
    (group,) = method.parameter_groups(10)
    assert (group.lr_factor, group.start_step) == (0.1, 10)
    optimizer, scheduler = method.optimizer_config.build(
        method, global_batch=256, steps_per_epoch=10, total_steps=100, groups=[group]
    )
    before = {name: value.clone() for name, value in method.named_parameters()}
    attach(method).on_train_epoch_start()
    assert not method.backbone.training
    for step in range(11):
        if step == 10:
            assert method.backbone.body[1].weight not in optimizer.state  # no moments of zeros
            method.trainer.current_epoch = 1
            method.on_train_epoch_start()
            assert method.backbone.training
            assert method.cached is None
            assert all(torch.equal(value, before[n]) for n, value in method.named_parameters() if "backbone" in n)
            assert not torch.equal(method.head.bias, before["head.bias"])
            assert optimizer.param_groups[2]["lr"] == pytest.approx(0.1 * optimizer.param_groups[0]["lr"])
        optimizer.zero_grad()
        method.step(make_batch(range(12)), torch.Generator().manual_seed(step))["loss"].backward()
        optimizer.step()
        scheduler.step()
    assert not torch.equal(method.backbone.body[1].weight, before["backbone.body.1.weight"])


def evaluate(rows):
    method, logged = make_method().eval(), {}
    nn.init.normal_(method.head.weight, generator=torch.Generator().manual_seed(5))
    method.log = logged.__setitem__
    method.log_dict = logged.update
    method._trainer = type("T", (), {})
    with torch.inference_mode():
        for part in shard_batches(rows, 8, rank(), world_size()):
            method._evaluate("test", 2, make_batch(part), 0)
        method._log_means("test")
    return {name: float(value) for name, value in logged.items()}, method.predictions.index.tolist()


@pytest.mark.subprocess
@pytest.mark.parametrize("world", [2, 3])
def test_metrics_are_exactly_those_of_one_rank(world):
    """43 images in batches of 8: ranks have different numbers of batches, and the last one is short."""
    rows = torch.arange(43).numpy()
    expected, order = evaluate(rows)
    assert order == list(range(43))
    assert {"test/accuracy", "test/macro_f1", "test/calibration_error", "test/loss"} <= expected.keys()
    for found, index in gloo.run_on_ranks(evaluate, world, rows):
        assert index == order, "no image is counted twice"
        assert {n: v for n, v in found.items() if n != "test/loss"} == {
            n: v for n, v in expected.items() if n not in ("test/loss",)
        }
        assert found["test/loss"] == pytest.approx(expected["test/loss"], abs=1e-6)


@pytest.mark.parametrize(("options", "message"), [
    ({"backbone_lr": -1.0}, "method.backbone_lr=-1.0: give a number of at least 0"),
    ({"label_smoothing": 1.0}, "method.label_smoothing=1.0: give a number of at least 0 and below 1"),
    ({"unfreeze_after": -1}, "method.unfreeze_after=-1: give a number of epochs"),
])  # fmt: skip
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        make_method(**options)


def test_layer_decay_applies_to_the_finetuned_backbone():
    method = make_method(backbone_lr=0.1, unfreeze_after=1, layer_decay=0.5)
    groups = method.parameter_groups(10)
    assert [group.lr_factor for group in groups] == pytest.approx([0.1 * 0.5**2, 0.1 * 0.5])  # linear, then batch norm
    assert {group.start_step for group in groups} == {10}
    assert {id(p) for group in groups for p in group.parameters} == {id(p) for p in method.backbone.parameters()}
