"""ArcFace against the formula of the paper."""

import math

import pytest
import torch
import torch.nn.functional as F

from fewlabels.core.errors import UserError
from fewlabels.methods.arcface import ArcFace
from methods.supervised import make_batch, make_method, step


def test_loss_is_the_formula_of_the_paper():
    method, batch = make_method(ArcFace, margin=20.0, scale=16.0), make_batch()
    z, directions = F.normalize(method.embed(batch.x)).detach(), F.normalize(method.loss.W.detach(), dim=0)
    total = 0.0
    for vector, y in zip(z, batch.y.tolist(), strict=True):
        cosines = [float(vector @ directions[:, k]) for k in range(3)]
        angle = math.acos(cosines[y]) + math.radians(20)
        assert angle < math.pi
        logits = [16 * (math.cos(angle) if k == y else cosines[k]) for k in range(3)]
        total -= logits[y] - math.log(sum(map(math.exp, logits)))
    assert step(method)["loss"] == pytest.approx(total / 9, abs=1e-4)


def test_chance_level_is_the_loss_of_an_orthogonal_embedding():
    method = make_method(ArcFace)
    logits = torch.zeros(1, 3)
    logits[0, 0] = 64 * math.cos(math.pi / 2 + math.radians(28.6))
    expected = F.cross_entropy(logits, torch.tensor([0])).item()
    assert step(method)["loss_chance"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("options", "message"), [
    ({"margin": 90.0}, "method.margin=90.0: give degrees from 0 to below 90"),
    ({"scale": 0.0}, "method.scale=0.0"),
])  # fmt: skip
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        make_method(ArcFace, **options)
