"""Finetuning: what stands still and what moves, and metrics that no number of processes changes."""

import math

import pytest
import torch
from torch import nn

import gloo
from fewlabels.backbones import Backbone
from fewlabels.batch import Batch
from fewlabels.data.batches import dealt
from fewlabels.distributed import rank, world_size
from fewlabels.errors import UserError
from fewlabels.methods.finetune import Finetune
from fewlabels.optim import Recipe
from fewlabels.views import RandomViews

SIZE = 16


def made(counts=(6, 3, 1), **options):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 8), nn.BatchNorm1d(8))
    backbone = Backbone(body, channels=1, size=SIZE, mean=[0.5], std=[0.25])
    method = Finetune(views=RandomViews(), backbone=backbone, optimizer=Recipe(name="sgd", lr=0.1), seed=0, **options)
    method.learn(["ant", "bee", "cat"], counts)
    return method


def batch(rows):
    x = torch.randint(0, 256, (50, 1, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    rows = torch.as_tensor(rows)
    return Batch(x[rows], rows % 3, rows)


def test_at_first_all_classes_are_as_likely():
    metrics = made().eval().step(batch(range(10)), torch.Generator())
    assert metrics["loss"].item() == pytest.approx(math.log(3)) == pytest.approx(metrics["loss_chance"].item())


def test_balanced_weighs_classes_by_the_inverse_of_their_labels():
    assert torch.allclose(made(balanced=True).weights, torch.tensor([1 / 6, 1 / 3, 1]) / 0.5)
    assert torch.equal(made().weights, torch.ones(3))


def test_a_rate_of_nothing_freezes_the_backbone():
    method = made(backbone_lr=0.0)
    assert [name for name, p in method.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]
    assert method.slow(10) is None
    method.on_train_epoch_start()
    assert not method.backbone.training
    assert method.head.training


@pytest.mark.filterwarnings("ignore:You are trying to `self.log:UserWarning")
def test_answers_that_are_no_numbers_are_not_taken_for_answers():
    method = made().eval()
    nn.init.constant_(method.head.bias, math.nan)
    method.step(batch(range(10)), torch.Generator())
    with pytest.raises(UserError, match="answers to the val images are not finite: the training has diverged"):
        method.on_validation_epoch_end()


def test_the_backbone_begins_after_so_many_epochs():
    method = made(backbone_lr=0.1, unfreeze_after=1)
    slow = method.slow(10)
    assert (slow.factor, slow.after) == (0.1, 10)
    optimizer, scheduler = method.recipe.build(method, global_batch=256, steps_per_epoch=10, total_steps=100, slow=slow)
    before = {name: value.clone() for name, value in method.named_parameters()}
    method.on_train_epoch_start()
    assert not method.backbone.training
    for step in range(11):
        if step == 10:
            assert all(torch.equal(value, before[n]) for n, value in method.named_parameters() if "backbone" in n)
            assert not torch.equal(method.head.bias, before["head.bias"])
            assert optimizer.param_groups[2]["lr"] == pytest.approx(0.1 * optimizer.param_groups[0]["lr"])
        optimizer.zero_grad()
        method.step(batch(range(12)), torch.Generator().manual_seed(step))["loss"].backward()
        optimizer.step()
        scheduler.step()
    assert not torch.equal(method.backbone.body[1].weight, before["backbone.body.1.weight"])


def measured(rows):
    method, logged = made().eval(), {}
    nn.init.normal_(method.head.weight, generator=torch.Generator().manual_seed(5))
    method.log = logged.__setitem__
    method.log_dict = logged.update
    method._trainer = type("T", (), {})
    with torch.inference_mode():
        for part in dealt(rows, 8, rank(), world_size()):
            method._evaluate("test", 2, batch(part), 0)
        method._log_means("test")
    return {name: float(value) for name, value in logged.items()}, method.answers.index.tolist()


@pytest.mark.parametrize("world", [2, 3])
def test_metrics_are_those_of_one_process_exactly(world):
    """43 images in batches of 8: ranks have different numbers of batches, and the last one is short."""
    rows = torch.arange(43).numpy()
    alone, order = measured(rows)
    assert order == list(range(43))
    assert {"test/accuracy", "test/macro_f1", "test/calibration_error", "test/loss"} <= alone.keys()
    for found, seen in gloo.run_on_ranks(measured, world, rows):
        assert seen == order, "nobody is counted twice"
        assert {n: v for n, v in found.items() if n != "test/loss"} == {
            n: v for n, v in alone.items() if n not in ("test/loss",)
        }
        assert found["test/loss"] == pytest.approx(alone["test/loss"], abs=1e-6)


@pytest.mark.parametrize(("options", "message"), [
    ({"backbone_lr": -1.0}, "method.backbone_lr=-1.0: give a number of at least 0"),
    ({"label_smoothing": 1.0}, "method.label_smoothing=1.0: give a number of at least 0 below 1"),
    ({"unfreeze_after": -1}, "method.unfreeze_after=-1: give a number of epochs"),
])  # fmt: skip
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        made(**options)
