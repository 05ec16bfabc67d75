"""Processes: rank, world size, a differentiable all-gather, random seeds per step and rank, and freed memory."""

import ctypes
import hashlib
import os
import sys
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def rank() -> int:
    """This process's rank; 0 if torch.distributed is not initialised."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes; 1 if torch.distributed is not initialised."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _Gather(torch.autograd.Function):
    """All-gather whose backward pass sums the gradients of all ranks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004 (autograd's signature)
        """Concatenate the ranks' `x` in rank order: [B, ...] to [W*B, ...]."""
        x = x.contiguous()
        slices = [torch.empty_like(x) for _ in range(world_size())]
        dist.all_gather(slices, x)
        return torch.cat(slices)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ARG004
        """Sum the ranks' gradients and return this rank's slice: [W*B, ...] to [B, ...]."""
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(world_size())[rank()]


def gather_with_gradient(x: Tensor) -> Tensor:
    """Concatenate the ranks' `x` in rank order, differentiably.

    The gradient with respect to `x` is the sum over ranks of the gradients of their losses. DDP averages parameter
    gradients over ranks, so if each rank's loss is the mean over its own samples, the result is the gradient of the
    mean over the global batch. SimCLR's negatives come from the global batch (Chen et al. 2020, section 2.2).

    Args:
        x: [B, ...], of the same shape and dtype on every rank. Every rank must call this, and every rank must run the
            backward pass.

    Returns:
        [W*B, ...] for W processes; `x` itself for one process.
    """
    if world_size() == 1:
        return x
    gathered: Tensor = _Gather.apply(x)
    return gathered


def step_seed(seed: int, epoch: int, step: int, rank: int, stream: int = 0) -> int:
    """Seed of the random draws of one step on one rank.

    It depends on its arguments alone, so a resumed run repeats the draws of an uninterrupted one, and ranks, steps and
    streams draw independently.

    Args:
        seed: The run's seed.
        epoch: Counted from 0.
        step: Counted from 0, within the epoch or over the run.
        rank: The process's rank.
        stream: Distinguishes several generators within a step.

    Returns:
        A 63-bit integer for `torch.Generator.manual_seed`: the BLAKE2b hash of the arguments.
    """
    key = ":".join(str(int(part)) for part in (seed, epoch, step, rank, stream))
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") >> 1


def keep_freed_memory() -> None:
    """Let this process keep the memory of freed tensors for the next ones, where the C library is glibc.

    By default glibc returns blocks of over 32 MB to the system, which fills every new one with zeros, page by page.
    That took most of the time of embedding images of 128 px on a CPU. Variables `MALLOC_…` have precedence.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(-4, 0)  # M_MMAP_MAX: no block has a mapping of its own
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: the heap does not shrink before this many bytes are free at its top
