"""Schedules and optimizers, compared with closed forms and with torch."""

import functools
import logging
import math

import pytest
import torch
from torch import Tensor, nn

from fewlabels.core.errors import UserError
from fewlabels.core.optim import NAMES, OptimizerConfig, ParameterGroup, lr_factor

RUN = {"global_batch": 256, "steps_per_epoch": 10, "total_steps": 100}


def network(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2)).to(dtype)


def images(step: int) -> Tensor:
    return torch.randn(8, 2, 4, 4, generator=torch.Generator().manual_seed(step))


def train(net: nn.Module, optimizer: torch.optim.Optimizer, scheduler, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        net(images(step)).square().mean().backward()
        optimizer.step()
        scheduler.step()


def test_warmup_is_linear_and_cosine_reaches_zero():
    factor = functools.partial(lr_factor, total_steps=110, warmup_steps=10)
    assert [factor(step) for step in range(10)] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factor(10) == 1
    assert factor(35) == pytest.approx(0.5 + math.sqrt(0.5) / 2)
    assert factor(60) == pytest.approx(0.5)
    assert factor(110) == pytest.approx(0, abs=1e-15)
    assert factor(500) == pytest.approx(0, abs=1e-15)


def test_cosine_decreases_to_its_minimum():
    factors = [lr_factor(step, total_steps=50, min_fraction=0.1) for step in range(60)]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] == 1
    assert factors[50] == pytest.approx(0.1)


def test_constant_schedule_is_one_after_warmup():
    factors = [lr_factor(step, total_steps=9, warmup_steps=2, schedule="constant") for step in range(9)]
    assert factors == [0.5] + [1.0] * 8


def test_step_schedule_equals_rotnets():
    """Gamma 0.2 after 60, 120 and 160 of 200 epochs (Gidaris et al. 2018, section 3.1)."""
    factor = functools.partial(lr_factor, total_steps=200 * 7, schedule="step", milestones=(0.3, 0.6, 0.8), gamma=0.2)
    around = [60 * 7 - 1, 60 * 7, 120 * 7 - 1, 120 * 7, 160 * 7 - 1, 160 * 7, 200 * 7 - 1]
    expected = [1, 0.2, 0.2, 0.04, 0.04, 0.008, 0.008]
    assert [factor(step) for step in around] == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_lr_is_per_256_images_and_follows_the_schedule(name):
    config = OptimizerConfig(name, lr=0.2, warmup_epochs=0.5)
    net = network()
    run = {"global_batch": 64, "steps_per_epoch": 4, "total_steps": 8}
    optimizer, scheduler = config.build(net, **run)
    used = []
    for step in range(8):
        used.append({group["lr"] for group in optimizer.param_groups})
        train(net, optimizer, scheduler, range(step, step + 1))
    expected = [0.05 * lr_factor(step, total_steps=8, warmup_steps=2) for step in range(8)]
    assert [len(rates) for rates in used] == [1] * 8
    assert [rates.pop() for rates in used] == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_weight_decay_and_lars_adaptation_apply_to_weights_only(name):
    net = network()
    net[3].bias.requires_grad_(False)
    optimizer, _ = OptimizerConfig(name, lr=0.1, weight_decay=0.3).build(net, **RUN)
    weights, others = optimizer.param_groups
    assert [id(p) for p in weights["params"]] == [id(net[0].weight), id(net[3].weight)]
    assert [id(p) for p in others["params"]] == [id(net[1].weight), id(net[1].bias)]
    assert (weights["weight_decay"], others["weight_decay"]) == (0.3, 0)
    if name == "lars":
        assert (weights["adapt"], others["adapt"]) == (True, False)


@pytest.mark.parametrize("name", NAMES)
def test_resuming_is_exact_with_weights_only_checkpoints(name, tmp_path):
    config = OptimizerConfig(name, lr=0.1, weight_decay=0.01, warmup_epochs=0.2)
    uninterrupted, interrupted = network(), network()
    train(uninterrupted, *config.build(uninterrupted, **RUN), range(6))
    optimizer, scheduler = config.build(interrupted, **RUN)
    train(interrupted, optimizer, scheduler, range(3))
    parts = (interrupted, optimizer, scheduler)
    torch.save([part.state_dict() for part in parts], tmp_path / "step3.ckpt")

    resumed = network()
    parts = (resumed, *config.build(resumed, **RUN))
    for part, state in zip(parts, torch.load(tmp_path / "step3.ckpt", weights_only=True), strict=True):
        part.load_state_dict(state)
    train(*parts, range(3, 6))
    for key, value in uninterrupted.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


@pytest.mark.parametrize("name", NAMES)
def test_networks_with_only_weights_or_only_vectors_train(name):
    for net in (nn.Linear(3, 2, bias=False), nn.BatchNorm1d(3)):
        optimizer, scheduler = OptimizerConfig(name, lr=0.1).build(net, **RUN)
        before = next(net.parameters()).clone()
        (net(torch.randn(5, 3)) ** 3).sum().backward()
        optimizer.step()
        scheduler.step()
        assert not torch.equal(next(net.parameters()), before)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_adamw_and_sgd_equal_torchs_loop_implementation(name):
    ours, theirs = network(), network()
    config = OptimizerConfig(name, 0.01, weight_decay=0.1, betas=[0.8, 0.99], nesterov=True, schedule="constant")
    train(ours, *config.build(ours, **RUN), range(5))
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in theirs.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    options = {"lr": 0.01, "foreach": False, "fused": False}
    if name == "sgd":
        reference = torch.optim.SGD(groups, momentum=0.9, nesterov=True, **options)
    else:
        reference = torch.optim.AdamW(groups, betas=(0.8, 0.99), **options)
    train(theirs, reference, torch.optim.lr_scheduler.ConstantLR(reference, factor=1), range(5))
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_can_be_clipped_in_mixed_precision(name):
    """Lightning rejects optimizers that declare to unscale gradients themselves, as fused ones do."""
    from lightning.pytorch.plugins.precision import MixedPrecision

    net = network()
    optimizer, _ = OptimizerConfig(name, lr=0.1).build(net, **RUN)
    (1e3 * net(images(0)).square()).sum().backward()
    MixedPrecision("bf16-mixed", "cpu").clip_gradients(optimizer, clip_val=1.0)
    norm = math.sqrt(sum(p.grad.square().sum().item() for p in net.parameters()))
    assert norm == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("name", "adam", "adamw, sgd, lars"),
        ("schedule", "linear", "cosine, constant, step"),
        ("lr", 0, "above 0"),
        ("lr", -0.1, "above 0"),
        ("lr", math.nan, "above 0"),
        ("lr", math.inf, "finite"),
        ("lr", "fast", "number"),
        ("lr", None, "number"),
        ("lr", True, "number"),
        ("weight_decay", -1e-4, "at least 0"),
        ("warmup_epochs", -1, "at least 0"),
        ("momentum", 1, "below 1"),
        ("min_lr_fraction", 1.5, "below 1"),
        ("eta", 0, "above 0"),
        ("gamma", 0, "above 0"),
        ("betas", [0.9], "two numbers"),
        ("betas", [0.9, 1.0], "two numbers"),
        ("milestones", [60, 120, 160], "fractions"),
        ("milestones", "0.3", "fractions"),
    ],
)
def test_an_invalid_value_is_rejected_with_its_key_and_remedy(key, value, remedy):
    settings = {"name": "sgd", "lr": 0.1, key: value}
    with pytest.raises(UserError, match=rf"method\.optimizer\.{key}=.*{remedy}"):
        OptimizerConfig(**settings)


def test_nesterov_needs_momentum():
    with pytest.raises(UserError, match=r"method\.optimizer\.nesterov=true"):
        OptimizerConfig("sgd", lr=0.1, momentum=0, nesterov=True)
    optimizer, _ = OptimizerConfig("sgd", lr=0.1, nesterov=True).build(network(), **RUN)
    assert optimizer.param_groups[0]["nesterov"]


@pytest.mark.parametrize("zero", ["steps_per_epoch", "total_steps"])
def test_a_run_without_optimizer_steps_is_rejected(zero):
    with pytest.raises(UserError, match=r"trainer\.max_epochs.*data\.batch_size"):
        OptimizerConfig("sgd", lr=0.1).build(network(), **{**RUN, zero: 0})


def test_a_run_shorter_than_its_warmup_is_logged(caplog):
    with caplog.at_level(logging.WARNING):
        OptimizerConfig("sgd", lr=0.1, warmup_epochs=10).build(network(), **RUN)
    assert "method.optimizer.warmup_epochs=10: the run ends before the warm-up" in caplog.text


def group_lrs(net, group, steps):
    """Learning rate of each parameter, by name, in every step."""
    optimizer, scheduler = OptimizerConfig("sgd", lr=0.1, warmup_epochs=0.2).build(net, **RUN, groups=[group])
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    lrs = []
    for step in range(steps):
        lrs.append({names[id(p)]: part["lr"] for part in optimizer.param_groups for p in part["params"]})
        train(net, optimizer, scheduler, range(step, step + 1))
    return lrs


def test_a_parameter_group_has_its_own_lr_factor():
    net = network()
    for step, lrs in enumerate(group_lrs(net, ParameterGroup([*net[0].parameters()], lr_factor=0.1), 4)):
        full = 0.1 * lr_factor(step, total_steps=100, warmup_steps=2)
        expected = {name: full * (0.1 if name.startswith("0.") else 1) for name, _ in net.named_parameters()}
        assert lrs == pytest.approx(expected)


def test_a_parameter_group_is_frozen_before_its_start_step():
    net = network()
    before = net[0].weight.detach().clone()
    lrs = group_lrs(net, ParameterGroup([*net[0].parameters()], lr_factor=0.5, start_step=3), 3)
    assert [step["0.weight"] for step in lrs] == [0, 0, 0]
    assert torch.equal(net[0].weight, before)
    lrs = group_lrs(net, ParameterGroup([*net[0].parameters()], lr_factor=0.5, start_step=3), 5)
    assert lrs[3]["0.weight"] == pytest.approx(0.5 * lrs[3]["3.weight"])
    assert not torch.equal(net[0].weight, before)


@pytest.mark.parametrize("name", NAMES)
def test_weight_decay_and_adaptation_apply_to_weights_of_a_parameter_group_too(name):
    net = network()
    group = ParameterGroup([*net[0].parameters(), *net[1].parameters()], lr_factor=0.1)
    optimizer, _ = OptimizerConfig(name, lr=0.1, weight_decay=0.3).build(net, **RUN, groups=[group])
    parts = [[id(p) for p in part["params"]] for part in optimizer.param_groups]
    assert parts == [[id(net[3].weight)], [id(net[3].bias)], [id(net[0].weight)], [id(net[1].weight), id(net[1].bias)]]
    assert [part["weight_decay"] for part in optimizer.param_groups] == [0.3, 0, 0.3, 0]
    if name == "lars":
        assert [part["adapt"] for part in optimizer.param_groups] == [True, False, True, False]
