"""Losses, compared with plain loops, closed forms, pytorch-metric-learning, and across ranks."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fewlabels.core.distributed import rank, world_size
from fewlabels.core.errors import UserError
from fewlabels.core.losses import (
    PAIR_CHANCE,
    contrastive_logits,
    nt_xent,
    nt_xent_chance,
    pair_loss,
    topk_accuracy,
)
from gloo import run_on_ranks

N, D = 6, 5
TEMPERATURES = (0.05, 0.5, 2.0)


def views(seed: int = 0, n: int = N, dim: int = D) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z1, z2 = torch.randn(2, n, dim, generator=generator, dtype=torch.float64)
    return z1, z2


def nt_xent_by_loops(z1: Tensor, z2: Tensor, temperature: float) -> float:
    """SimCLR's equation 1 and algorithm 1."""
    z = [row.tolist() for pair in zip(z1, z2, strict=True) for row in pair]  # views of image k: z[2k], z[2k + 1]

    def sim(a: list[float], b: list[float]) -> float:
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))

    def loss(i: int, j: int) -> float:
        others = [math.exp(sim(z[i], z[k]) / temperature) for k in range(len(z)) if k != i]
        return -math.log(math.exp(sim(z[i], z[j]) / temperature) / sum(others))

    return sum(loss(2 * k, 2 * k + 1) + loss(2 * k + 1, 2 * k) for k in range(len(z1))) / len(z)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_nt_xent_equals_plain_loops(temperature):
    z1, z2 = views()
    expected = nt_xent_by_loops(z1, z2, temperature)
    assert nt_xent(z1, z2, temperature).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_nt_xent_equals_pytorch_metric_learning(temperature):
    from pytorch_metric_learning.losses import NTXentLoss  # a slow import, which the ranks do not need

    z1, z2 = (z.requires_grad_() for z in views(1))
    theirs = NTXentLoss(temperature)(torch.cat([z1, z2]), torch.arange(N).repeat(2))
    ours = nt_xent(z1, z2, temperature)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
    for mine, other in zip(torch.autograd.grad(ours, (z1, z2)), torch.autograd.grad(theirs, (z1, z2)), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=0)


def test_nt_xent_passes_gradcheck():
    z1, z2 = (z.requires_grad_() for z in views(2, n=3, dim=4))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.3), (z1, z2))


@pytest.mark.parametrize("n", [1, 2, 100])
def test_nt_xent_of_equal_similarities_is_the_chance_level(n):
    equal = torch.ones(n, D, dtype=torch.float64)
    assert nt_xent(equal, equal, 0.1).item() == pytest.approx(nt_xent_chance(n), abs=1e-12)
    assert nt_xent(*views(n=n), 1e12).item() == pytest.approx(math.log(2 * n - 1), abs=1e-9)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_nt_xent_of_perfect_embeddings_has_a_closed_form(temperature):
    """Orthogonal images with identical views: one similarity of 1, and 2N - 2 of 0."""
    z = torch.eye(N, dtype=torch.float64)
    expected = math.log(1 + (2 * N - 2) * math.exp(-1 / temperature))
    assert nt_xent(z, z, temperature).item() == pytest.approx(expected, abs=1e-12)


def test_nt_xent_is_invariant_to_order_swapped_views_and_lengths():
    z1, z2 = views(3)
    loss = nt_xent(z1, z2, 0.2)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    lengths = torch.linspace(0.01, 100, N, dtype=torch.float64)[:, None]
    torch.testing.assert_close(nt_xent(z1[order], z2[order], 0.2), loss, atol=1e-12, rtol=0)
    torch.testing.assert_close(nt_xent(z2, z1, 0.2), loss, atol=1e-12, rtol=0)
    torch.testing.assert_close(nt_xent(z1 * lengths, 3 * z2, 0.2), loss, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("scale", [1e-3, 1, 1e3])
def test_nt_xent_is_finite_at_low_temperature_and_precision(dtype, scale):
    z1, z2 = ((scale * z).to(dtype).requires_grad_() for z in views(4, n=32))
    loss = nt_xent(z1, z2, 0.01)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert z1.grad.isfinite().all()
    assert z2.grad.isfinite().all()


def test_nt_xent_is_float32_under_autocast():
    z1, z2 = (z.bfloat16() for z in views(5, n=32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nt_xent(z1, z2, 0.05)
    assert torch.equal(loss, nt_xent(z1.float(), z2.float(), 0.05))


def test_nt_xent_of_zero_vectors_is_finite_with_a_moderate_gradient():
    z1, z2 = views(6)
    z1[0] = 0
    z1.requires_grad_()
    loss = nt_xent(z1, z2, 0.5)
    loss.backward()
    assert loss.isfinite()
    assert z1.grad.abs().max() < 10
    zeros = torch.zeros(N, D)
    assert nt_xent(zeros, zeros, 0.5).item() == pytest.approx(nt_xent_chance(N), abs=1e-6)


@pytest.mark.parametrize("temperature", [0, -0.1, math.nan, math.inf, "0.1", None])
def test_an_invalid_temperature_is_rejected(temperature):
    with pytest.raises(UserError, match=r"method\.temperature=.*above 0.*0\.5"):
        nt_xent(*views(), temperature)


def test_contrastive_logits_are_similarities_with_the_positive_at_its_target():
    z1, z2 = views(7)
    logits, targets = contrastive_logits(z1, z2, 0.5)
    assert logits.shape == (2 * N, 2 * N)
    assert torch.equal(logits.isinf(), torch.eye(2 * N, dtype=torch.bool))
    positives = logits[torch.arange(2 * N), targets]
    torch.testing.assert_close(positives, F.cosine_similarity(z1, z2).repeat(2) / 0.5)


def test_topk_accuracy_counts_targets_among_the_largest_logits():
    logits = torch.tensor([[0.1, 0.9, 0.5], [0.8, 0.1, 0.2], [0.3, 0.2, 0.1]])
    targets = torch.tensor([2, 0, 2])
    assert topk_accuracy(logits, targets).item() == pytest.approx(1 / 3)
    assert topk_accuracy(logits, targets, 2).item() == pytest.approx(2 / 3)
    assert topk_accuracy(logits, targets, 5).item() == 1


def test_aligned_views_have_a_top1_accuracy_of_one():
    z = torch.eye(N)
    logits, targets = contrastive_logits(z, z, 0.5)
    assert topk_accuracy(logits, targets).item() == 1


def test_pair_loss_equals_plain_loops():
    logits, same = torch.tensor([-2.0, 0.5, 3.0]), torch.tensor([0, 1, 0])
    odds = [1 / (1 + math.exp(-logit)) for logit in logits.tolist()]
    expected = -(math.log(1 - odds[0]) + math.log(odds[1]) + math.log(1 - odds[2])) / 3
    assert pair_loss(logits, same).item() == pytest.approx(expected, abs=1e-6)
    assert torch.equal(pair_loss(logits, same.bool()), pair_loss(logits, same.float()))


def test_pair_loss_has_its_chance_level_at_zero_and_is_finite_for_large_logits():
    same = torch.tensor([True, False, True])
    assert pair_loss(torch.zeros(3), same).item() == pytest.approx(PAIR_CHANCE)
    large = torch.tensor([-1e4, 1e4, -1e4], dtype=torch.bfloat16, requires_grad=True)
    loss = pair_loss(large, same)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(1e4, rel=0.01)
    assert large.grad.isfinite().all()


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, 4)).double()


def train_on_a_rank(x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
    """Loss with and without gathering on this rank's part of the images, gradients after DDP, and accuracy."""
    net = DistributedDataParallel(network())
    own = [x.chunk(world_size())[rank()] for x in (x1, x2)]
    z1, z2 = net(torch.cat(own)).chunk(2)
    loss = nt_xent(z1, z2, 0.1)
    loss.backward()
    logits, targets = contrastive_logits(z1.detach(), z2.detach(), 0.1)
    local = nt_xent(z1.detach(), z2.detach(), 0.1, gather=False)
    return loss.detach(), local, [p.grad for p in net.parameters()], topk_accuracy(logits, targets)


@pytest.mark.subprocess
def test_two_ranks_have_the_loss_and_gradients_of_one_process():
    x1, x2 = views(8, n=8)
    results = run_on_ranks(train_on_a_rank, 2, x1, x2)
    net = network()
    z1, z2 = net(torch.cat([x1, x2])).chunk(2)
    loss = nt_xent(z1, z2, 0.1)
    loss.backward()
    accuracy = topk_accuracy(*contrastive_logits(z1, z2, 0.1))
    assert sum(result[0] for result in results).item() / 2 == pytest.approx(loss.item(), abs=1e-12)
    assert sum(result[3] for result in results).item() / 2 == pytest.approx(accuracy.item(), abs=1e-6)
    for number, (_, local, grads, _) in enumerate(results):
        for grad, parameter in zip(grads, net.parameters(), strict=True):
            torch.testing.assert_close(grad, parameter.grad, atol=1e-12, rtol=0)
        own = [z.detach().chunk(2)[number] for z in (z1, z2)]
        assert local.item() == pytest.approx(nt_xent(*own, 0.1).item(), abs=1e-12)
