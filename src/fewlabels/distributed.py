"""What a method must know of its sister processes: who it is, what the others hold, and its own seed."""

import hashlib
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def rank() -> int:
    """This process's number among all that train together; 0 where torch.distributed isn't initialised."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together; 1 where torch.distributed isn't initialised."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _Gather(torch.autograd.Function):
    """All-gather whose backward pass brings home what every rank's loss says of this rank's slice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004 (autograd's signature)
        """Concatenate every rank's `x` in the order of the ranks: [B, ...] to [W*B, ...]."""
        x = x.contiguous()
        slices = [torch.empty_like(x) for _ in range(world_size())]
        dist.all_gather(slices, x)
        return torch.cat(slices)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ARG004
        """Sum the ranks' gradients, keep this rank's slice: [W*B, ...] to [B, ...]."""
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(world_size())[rank()]


def gather_with_gradient(x: Tensor) -> Tensor:
    """Every rank's `x` in the order of the ranks, differentiable on every rank.

    The gradient that reaches `x` is the SUM over ranks of what each rank's loss says of it. DDP averages
    the parameters' gradients; so where each rank's loss is the mean over its own share, the result is the
    gradient of the mean over everything. (SimCLR, Chen et al. 2020, section 2.2, aggregates its batch norm
    over all devices likewise; its loss takes the negatives of all of them.)

    Args:
        x: [B, ...], of one shape and type on every rank. All ranks must call this, and all must go backward.

    Returns:
        [W*B, ...] for W processes; `x` itself where there is one.
    """
    if world_size() == 1:
        return x
    gathered: Tensor = _Gather.apply(x)
    return gathered


def step_seed(seed: int, epoch: int, step: int, rank: int, stream: int = 0) -> int:
    """A seed for the random draws of one step on one rank.

    It hangs on nothing but its arguments: a resumed run draws what the unbroken one would have drawn, and
    any two ranks, steps or streams draw differently.

    Args:
        seed: the run's seed.
        epoch: counted from 0.
        step: counted from 0, within the epoch or over the run.
        rank: the process's number.
        stream: tells apart several generators within one step.

    Returns:
        A well-mixed 63-bit number (the BLAKE2b hash of the arguments), fit for `torch.Generator.manual_seed`.
    """
    key = ":".join(str(int(part)) for part in (seed, epoch, step, rank, stream))
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") >> 1
