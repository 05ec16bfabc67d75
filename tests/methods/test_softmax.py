"""The softmax classifier against plain loops."""

import math

import pytest
from torch import nn

from fewlabels.methods.softmax import Softmax
from methods.supervised import make_batch, make_method, step


def test_loss_is_the_cross_entropy():
    method, batch = make_method(Softmax), make_batch()
    probabilities = method.head(method.embed(batch.x)).softmax(1).tolist()
    expected = -sum(math.log(p[y]) for p, y in zip(probabilities, batch.y.tolist(), strict=True)) / 9
    assert step(method)["loss"] == pytest.approx(expected, abs=1e-5)


def test_a_zero_head_has_the_loss_at_chance_level():
    method = make_method(Softmax)
    nn.init.zeros_(method.head.weight)
    nn.init.zeros_(method.head.bias)
    assert step(method)["loss"] == pytest.approx(step(method)["loss_chance"]) == pytest.approx(math.log(3))
