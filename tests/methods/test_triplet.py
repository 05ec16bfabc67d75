"""The triplet loss against plain loops over all triplets."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fewlabels.core.batch import Batch
from fewlabels.core.errors import UserError
from fewlabels.methods.triplet import Triplet
from methods.supervised import make_batch, make_method, step


def triplet_loss(z, y, margin, *, semihard):
    """Mean over the triplets with a positive loss, by three loops."""
    distances = [[math.dist(a, b) for b in z] for a in z]
    losses = []
    for a in range(len(y)):
        for p in range(len(y)):
            for n in range(len(y)):
                if a != p and y[a] == y[p] != y[n]:
                    gap = distances[a][n] - distances[a][p]
                    if not semihard or 0 < gap <= margin:
                        losses.append(max(0.0, margin - gap))
    positive = [loss for loss in losses if loss > 0]
    return sum(positive) / len(positive) if positive else 0.0


@pytest.mark.parametrize("semihard", [False, True])
def test_loss_is_that_of_plain_loops(semihard):
    method, batch = make_method(Triplet, margin=0.3, warmup_epochs=0 if semihard else 1).train(), make_batch()
    z = F.normalize(method.embed(batch.x)).tolist()
    expected = triplet_loss(z, batch.y.tolist(), 0.3, semihard=semihard)
    assert expected > 0
    assert step(method)["loss"] == pytest.approx(expected, abs=1e-5)


def test_a_constant_embedding_has_the_loss_at_chance_level():
    method = make_method(Triplet)
    nn.init.zeros_(method.backbone.body[1].weight)
    assert step(method)["loss"] == pytest.approx(step(method)["loss_chance"]) == pytest.approx(0.2)


def test_a_batch_without_triplets_has_a_loss_of_zero_with_a_gradient():
    method = make_method(Triplet).train()
    one_class = Batch(make_batch().x, torch.zeros(9, dtype=torch.int64), torch.arange(9))
    loss = method.step(one_class, torch.Generator())["loss"]
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize(("options", "message"), [
    ({"margin": 0.0}, "method.margin=0.0: give a distance between 0 and 2"),
    ({"warmup_epochs": -1}, "method.warmup_epochs=-1"),
])  # fmt: skip
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        make_method(Triplet, **options)
