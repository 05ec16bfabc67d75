"""The supervised methods on two ranks against one."""

import pytest
import torch

import gloo
from fewlabels.core.batch import Batch
from fewlabels.core.distributed import rank, world_size
from fewlabels.methods.arcface import ArcFace
from fewlabels.methods.softmax import Softmax
from fewlabels.methods.triplet import Triplet
from methods.supervised import make_batch, make_method


def gradients(kinds, batches):
    """Gradients of this rank's batch for every method, averaged over the ranks as DDP does."""
    return [rank_average(kind, batches[rank()]) for kind in kinds]


def rank_average(kind, batch):
    method = make_method(kind).train().double()
    method.backbone.normalise = lambda x: (x.double() / 255 - 0.5) / 0.25
    method.step(batch, torch.Generator())["loss"].backward()
    if world_size() > 1:
        for parameter in method.parameters():
            torch.distributed.all_reduce(parameter.grad)
    return [parameter.grad / world_size() for parameter in method.parameters()]


@pytest.mark.subprocess
def test_two_ranks_have_the_gradients_of_one():
    kinds, batch = [Softmax, ArcFace, Triplet], make_batch(8)
    halves = [Batch(*(column[start : start + 4] for column in batch)) for start in (0, 4)]
    expected = gradients(kinds, [batch])
    for found in gloo.run_on_ranks(gradients, 2, kinds, halves):
        for kind, one_rank, two_ranks in zip(kinds, expected, found, strict=True):
            assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(one_rank, two_ranks, strict=True)), kind
