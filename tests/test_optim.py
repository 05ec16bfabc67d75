import functools
import logging
import math

import pytest
import torch
from torch import Tensor, nn

from fewlabels.errors import UserError
from fewlabels.lars import LARS
from fewlabels.optim import NAMES, Recipe, lr_factor

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


def test_cosine_never_rises_and_ends_at_its_least():
    factors = [lr_factor(step, total_steps=50, min_fraction=0.1) for step in range(60)]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] == 1
    assert factors[50] == pytest.approx(0.1)


def test_constant_is_constant_after_its_warmup():
    factors = [lr_factor(step, total_steps=9, warmup_steps=2, schedule="constant") for step in range(9)]
    assert factors == [0.5] + [1.0] * 8


def test_steps_are_rotnets():
    """A fifth after 60, 120 and 160 of 200 epochs (Gidaris et al. 2018, section 3.1)."""
    factor = functools.partial(lr_factor, total_steps=200 * 7, schedule="step", milestones=(0.3, 0.6, 0.8), gamma=0.2)
    around = [60 * 7 - 1, 60 * 7, 120 * 7 - 1, 120 * 7, 160 * 7 - 1, 160 * 7, 200 * 7 - 1]
    expected = [1, 0.2, 0.2, 0.04, 0.04, 0.008, 0.008]
    assert [factor(step) for step in around] == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_the_rate_is_per_256_images_and_follows_the_schedule(name):
    recipe = Recipe(name, lr=0.2, warmup_epochs=0.5)
    net = network()
    run = {"global_batch": 64, "steps_per_epoch": 4, "total_steps": 8}
    optimizer, scheduler = recipe.build(net, **run)
    used = []
    for step in range(8):
        used.append({group["lr"] for group in optimizer.param_groups})
        train(net, optimizer, scheduler, range(step, step + 1))
    expected = [0.05 * lr_factor(step, total_steps=8, warmup_steps=2) for step in range(8)]
    assert [len(rates) for rates in used] == [1] * 8
    assert [rates.pop() for rates in used] == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_only_weights_decay_and_only_weights_adapt(name):
    net = network()
    net[3].bias.requires_grad_(False)
    optimizer, _ = Recipe(name, lr=0.1, weight_decay=0.3).build(net, **RUN)
    weights, others = optimizer.param_groups
    assert [id(p) for p in weights["params"]] == [id(net[0].weight), id(net[3].weight)]
    assert [id(p) for p in others["params"]] == [id(net[1].weight), id(net[1].bias)]
    assert (weights["weight_decay"], others["weight_decay"]) == (0.3, 0)
    if name == "lars":
        assert (weights["adapt"], others["adapt"]) == (True, False)


@pytest.mark.parametrize("name", NAMES)
def test_resuming_is_exact_and_needs_no_pickled_code(name, tmp_path):
    recipe = Recipe(name, lr=0.1, weight_decay=0.01, warmup_epochs=0.2)
    whole, halves = network(), network()
    train(whole, *recipe.build(whole, **RUN), range(6))
    optimizer, scheduler = recipe.build(halves, **RUN)
    train(halves, optimizer, scheduler, range(3))
    parts = (halves, optimizer, scheduler)
    torch.save([part.state_dict() for part in parts], tmp_path / "half.ckpt")

    resumed = network()
    parts = (resumed, *recipe.build(resumed, **RUN))
    for part, state in zip(parts, torch.load(tmp_path / "half.ckpt", weights_only=True), strict=True):
        part.load_state_dict(state)
    train(*parts, range(3, 6))
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


@pytest.mark.parametrize("name", NAMES)
def test_a_network_of_nothing_but_weights_or_of_biases_trains(name):
    for net in (nn.Linear(3, 2, bias=False), nn.BatchNorm1d(3)):
        optimizer, scheduler = Recipe(name, lr=0.1).build(net, **RUN)
        before = next(net.parameters()).clone()
        (net(torch.randn(5, 3)) ** 3).sum().backward()
        optimizer.step()
        scheduler.step()
        assert not torch.equal(next(net.parameters()), before)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_adamw_and_sgd_are_torchs_plainest(name):
    ours, theirs = network(), network()
    recipe = Recipe(name, 0.01, weight_decay=0.1, betas=[0.8, 0.99], nesterov=True, schedule="constant")
    train(ours, *recipe.build(ours, **RUN), range(5))
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in theirs.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    plainest = {"lr": 0.01, "foreach": False, "fused": False}
    if name == "sgd":
        plain = torch.optim.SGD(groups, momentum=0.9, nesterov=True, **plainest)
    else:
        plain = torch.optim.AdamW(groups, betas=(0.8, 0.99), **plainest)
    train(theirs, plain, torch.optim.lr_scheduler.ConstantLR(plain, factor=1), range(5))
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_can_be_clipped_in_mixed_precision(name):
    """Lightning refuses to for an optimizer that says it unscales gradients itself, as fused ones do."""
    from lightning.pytorch.plugins.precision import MixedPrecision

    net = network()
    optimizer, _ = Recipe(name, lr=0.1).build(net, **RUN)
    (1e3 * net(images(0)).square()).sum().backward()
    MixedPrecision("bf16-mixed", "cpu").clip_gradients(optimizer, clip_val=1.0)
    norm = math.sqrt(sum(p.grad.square().sum().item() for p in net.parameters()))
    assert norm == pytest.approx(1, abs=1e-3)


def lars_by_loops(weight: list[float], grads: list[list[float]], adapt: bool) -> list[float]:
    """You et al. 2017, algorithm 1: rate 0.5, momentum 0.9, decay 0.1, trust 0.02."""
    velocity = [0.0] * len(weight)
    for grad in grads:
        w_norm = math.sqrt(sum(w * w for w in weight))
        g_norm = math.sqrt(sum(g * g for g in grad))
        local = 0.02 * w_norm / (g_norm + 0.1 * w_norm) if adapt and w_norm and g_norm else 1.0
        velocity = [0.9 * v + 0.5 * local * (g + 0.1 * w) for v, g, w in zip(velocity, grad, weight, strict=True)]
        weight = [w - v for w, v in zip(weight, velocity, strict=True)]
    return weight


@pytest.mark.parametrize("adapt", [True, False])
@pytest.mark.parametrize("start", [[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]])
def test_lars_equals_the_paper_in_plain_loops(start, adapt):
    grads = [[0.3, -0.1, 0.2], [-0.5, 0.4, 0.1]]
    weight = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = LARS([weight], lr=0.5, momentum=0.9, weight_decay=0.1, eta=0.02, adapt=adapt)
    for grad in grads:
        weight.grad = torch.tensor(grad, dtype=torch.float64)
        optimizer.step()
    assert weight.tolist() == pytest.approx(lars_by_loops(start, grads, adapt), abs=1e-14)


def test_lars_leaves_alone_what_has_no_gradient_and_returns_its_closures_loss():
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = LARS([used, unused], lr=0.1, weight_decay=0.1)

    def closure() -> float:
        optimizer.zero_grad()
        loss = used.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 2
    assert torch.equal(unused, torch.ones(2))
    assert not torch.equal(used, torch.ones(2))


def test_lars_does_not_depend_on_the_scale_of_the_gradient():
    moved = []
    for scale in (1e-4, 1, 1e4):
        weight = nn.Parameter(torch.tensor([3.0, 4.0]))
        weight.grad = scale * torch.tensor([1.0, 0.0])
        LARS([weight], lr=0.1, eta=0.02).step()
        moved.append(3 - weight[0].item())
    assert moved == pytest.approx([0.1 * 0.02 * 5] * 3, rel=1e-4)


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
def test_a_bad_value_names_its_key_and_the_remedy(key, value, remedy):
    settings = {"name": "sgd", "lr": 0.1, key: value}
    with pytest.raises(UserError, match=rf"method\.optimizer\.{key}=.*{remedy}"):
        Recipe(**settings)


def test_nesterov_needs_momentum():
    with pytest.raises(UserError, match=r"method\.optimizer\.nesterov=true"):
        Recipe("sgd", lr=0.1, momentum=0, nesterov=True)
    optimizer, _ = Recipe("sgd", lr=0.1, nesterov=True).build(network(), **RUN)
    assert optimizer.param_groups[0]["nesterov"]


@pytest.mark.parametrize("nothing", ["steps_per_epoch", "total_steps"])
def test_a_run_without_steps_is_refused(nothing):
    with pytest.raises(UserError, match=r"trainer\.max_epochs.*data\.batch_size"):
        Recipe("sgd", lr=0.1).build(network(), **{**RUN, nothing: 0})


def test_a_run_shorter_than_its_warmup_says_so(caplog):
    with caplog.at_level(logging.WARNING):
        Recipe("sgd", lr=0.1, warmup_epochs=10).build(network(), **RUN)
    assert "method.optimizer.warmup_epochs=10" in caplog.text
