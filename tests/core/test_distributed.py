"""Gather and seeds: gradients on two gloo ranks, and statistics of the seeds."""

import ctypes
import itertools
import os
import platform
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from fewlabels.core.distributed import gather_with_gradient, keep_freed_memory, rank, step_seed, world_size
from gloo import run_on_ranks

WORLD = 2
FIRST_SEED = 4623630453773432468


def rows_of(rank: int, dtype: torch.dtype) -> Tensor:
    return torch.arange(6, dtype=dtype).reshape(3, 2) + 10 * rank


def gather_on_a_rank(dtype: torch.dtype) -> tuple[int, int, Tensor, Tensor]:
    """Each rank's loss weights every row differently, so that the gradient identifies ranks and rows."""
    x = rows_of(rank(), dtype).requires_grad_()
    gathered = gather_with_gradient(x * 1)
    weights = (rank() + 1) * torch.arange(1, len(gathered) + 1, dtype=dtype)[:, None]
    (gathered * weights).sum().backward()
    assert x.grad is not None
    return rank(), world_size(), gathered.detach(), x.grad


def fail_on_rank_one() -> None:
    if rank() == 1:
        raise ValueError("failure on rank one")
    torch.distributed.barrier()


def test_a_single_process_is_rank_zero_of_one():
    assert (rank(), world_size()) == (0, 1)


def test_gather_in_a_single_process_is_the_identity():
    x = torch.randn(3, 2, requires_grad=True)
    assert gather_with_gradient(x) is x


@pytest.mark.subprocess
def test_gather_orders_by_rank_and_sums_the_gradients_of_all_ranks():
    results = run_on_ranks(gather_on_a_rank, WORLD, torch.float64)
    expected = torch.cat([rows_of(r, torch.float64) for r in range(WORLD)])
    gradient = sum(range(1, WORLD + 1)) * torch.arange(1.0, len(expected) + 1, dtype=torch.float64)
    for number, (own_rank, size, gathered, grad) in enumerate(results):
        assert (own_rank, size) == (number, WORLD)
        assert torch.equal(gathered, expected)
        assert grad.dtype == torch.float64
        assert torch.equal(grad, gradient.chunk(WORLD)[number][:, None].expand(3, 2))


@pytest.mark.subprocess
def test_a_failing_rank_stops_the_others():
    with pytest.raises(RuntimeError, match="failure on rank one"):
        run_on_ranks(fail_on_rank_one, WORLD)


def test_step_seed_is_stable_across_versions():
    """Existing runs could not be resumed exactly if it changed."""
    assert step_seed(0, 0, 0, 0) == step_seed(0, 0, 0, 0, stream=0) == FIRST_SEED


def test_step_seeds_differ_in_every_argument_and_fit_63_bits():
    seeds = [step_seed(*key) for key in itertools.product(range(4), repeat=5)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    torch.Generator().manual_seed(max(seeds))


def test_step_seeds_are_well_mixed():
    """The next step flips half of the 63 bits on average, and every bit is set in half of the seeds."""
    seeds = [step_seed(7, 3, step, 1) for step in range(2000)]
    flips = [(a ^ b).bit_count() for a, b in itertools.pairwise(seeds)]
    assert sum(flips) / len(flips) == pytest.approx(31.5, abs=0.5)
    ones = [sum(seed >> bit & 1 for seed in seeds) / len(seeds) for bit in range(63)]
    assert min(ones) > 0.44
    assert max(ones) < 0.56


@pytest.mark.parametrize("seed", [-1, 2**64, 2**200])
def test_step_seed_accepts_any_integer(seed):
    assert 0 <= step_seed(seed, 0, 0, 0) < 2**63


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
@pytest.mark.parametrize(("variable", "calls"), [(None, [(-4, 0), (-1, 2**31 - 1)]), ("MALLOC_ARENA_MAX", [])])
def test_glibc_is_told_to_keep_freed_memory_unless_a_variable_says_otherwise(monkeypatch, variable, calls):
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)
    if variable:
        monkeypatch.setenv(variable, "2")
    made = []
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=lambda *call: made.append(call)))
    keep_freed_memory()
    assert made == calls
