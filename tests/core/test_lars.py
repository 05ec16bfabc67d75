"""LARS, compared with plain loops."""

import math

import pytest
import torch
from torch import nn

from fewlabels.core.lars import LARS


def lars_by_loops(weight: list[float], grads: list[list[float]], adapt: bool) -> list[float]:
    """You et al. 2017, algorithm 1, with lr 0.5, momentum 0.9, weight decay 0.1 and eta 0.02."""
    velocity = [0.0] * len(weight)
    for grad in grads:
        w_norm = math.sqrt(sum(w * w for w in weight))
        g_norm = math.sqrt(sum(g * g for g in grad))
        local = 0.02 * w_norm / (g_norm + 0.1 * w_norm) if adapt and w_norm and g_norm else 1.0
        velocity = [0.9 * v + 0.5 * local * (g + 0.1 * w) for v, g, w in zip(velocity, grad, weight, strict=True)]
        weight = [w - v for w, v in zip(weight, velocity, strict=True)]
    return weight


@pytest.mark.parametrize("adapt", [True, False])
@pytest.mark.parametrize("initial", [[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]])
def test_lars_equals_plain_loops(initial, adapt):
    grads = [[0.3, -0.1, 0.2], [-0.5, 0.4, 0.1]]
    weight = nn.Parameter(torch.tensor(initial, dtype=torch.float64))
    optimizer = LARS([weight], lr=0.5, momentum=0.9, weight_decay=0.1, eta=0.02, adapt=adapt)
    for grad in grads:
        weight.grad = torch.tensor(grad, dtype=torch.float64)
        optimizer.step()
    assert weight.tolist() == pytest.approx(lars_by_loops(initial, grads, adapt), abs=1e-14)


def test_parameters_without_gradient_are_unchanged_and_the_closures_loss_is_returned():
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


def test_the_update_does_not_depend_on_the_scale_of_the_gradient():
    moved = []
    for scale in (1e-4, 1, 1e4):
        weight = nn.Parameter(torch.tensor([3.0, 4.0]))
        weight.grad = scale * torch.tensor([1.0, 0.0])
        LARS([weight], lr=0.1, eta=0.02).step()
        moved.append(3 - weight[0].item())
    assert moved == pytest.approx([0.1 * 0.02 * 5] * 3, rel=1e-4)
