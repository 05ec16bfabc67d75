"""The supervised baselines against plain loops, and two processes against one."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import gloo
from fewlabels.backbones import Backbone
from fewlabels.batch import Batch
from fewlabels.errors import UserError
from fewlabels.methods.arcface import ArcFace
from fewlabels.methods.softmax import Softmax
from fewlabels.methods.triplet import Triplet
from fewlabels.optim import Recipe
from fewlabels.views import RandomViews

SIZE, CLASSES = 16, ["ant", "bee", "cat"]


def made(kind, **options):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 8))
    backbone = Backbone(body, channels=1, size=SIZE, mean=[0.5], std=[0.25])
    still = RandomViews(scale=[1, 1], ratio=[1, 1], horizontal_flip=0, jitter=0, grey=0, blur=0)
    method = kind(views=still, backbone=backbone, optimizer=Recipe(name="sgd", lr=0.1), seed=0, **options)
    method.learn(CLASSES, [4, 4, 4])
    return method.eval()


def batch(count=9):
    x = torch.randint(0, 256, (count, 1, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    return Batch(x, torch.arange(count) % 3, torch.arange(count))


def step(method, part=None):
    return {k: v.item() for k, v in method.step(part or batch(), torch.Generator().manual_seed(0)).items()}


def test_softmax_is_cross_entropy_and_knows_nothing_at_first():
    method = made(Softmax)
    logits = method.head(method.embed(batch().x))
    expected = -sum(math.log(p[y]) for p, y in zip(logits.softmax(1).tolist(), batch().y.tolist(), strict=True)) / 9
    assert step(method)["loss"] == pytest.approx(expected, abs=1e-5)
    nn.init.zeros_(method.head.weight)
    nn.init.zeros_(method.head.bias)
    assert step(method)["loss"] == pytest.approx(step(method)["loss_chance"]) == pytest.approx(math.log(3))


def test_arcface_is_the_papers_formula():
    method = made(ArcFace, margin=20.0, scale=16.0)
    z, directions = F.normalize(method.embed(batch().x)).detach(), F.normalize(method.loss.W.detach(), dim=0)
    total = 0.0
    for vector, y in zip(z, batch().y.tolist(), strict=True):
        cosines = [float(vector @ directions[:, k]) for k in range(3)]
        angle = math.acos(cosines[y]) + math.radians(20)
        assert angle < math.pi
        powers = [16 * (math.cos(angle) if k == y else cosines[k]) for k in range(3)]
        total -= powers[y] - math.log(sum(map(math.exp, powers)))
    assert step(method)["loss"] == pytest.approx(total / 9, abs=1e-4)


def test_arcfaces_chance_is_the_loss_at_right_angles():
    method = made(ArcFace)
    logits = torch.zeros(1, 3)
    logits[0, 0] = 64 * math.cos(math.pi / 2 + math.radians(28.6))
    assert method.chance == pytest.approx(F.cross_entropy(logits, torch.tensor([0])).item(), abs=1e-4)


def triplets_by_loops(z, y, margin, semihard):
    d = [[math.dist(a, b) for b in z] for a in z]
    found = []
    for a in range(len(y)):
        for p in range(len(y)):
            for n in range(len(y)):
                if a != p and y[a] == y[p] != y[n]:
                    gap = d[a][n] - d[a][p]
                    if not semihard or 0 < gap <= margin:
                        found.append(max(0.0, margin - gap))
    positive = [value for value in found if value > 0]
    return sum(positive) / len(positive) if positive else 0.0


@pytest.mark.parametrize("semihard", [False, True])
def test_triplets_are_those_of_plain_loops(semihard):
    method = made(Triplet, margin=0.3, warmup_epochs=0 if semihard else 1).train()
    z = F.normalize(method.embed(batch().x)).tolist()
    expected = triplets_by_loops(z, batch().y.tolist(), 0.3, semihard)
    assert expected > 0
    assert step(method)["loss"] == pytest.approx(expected, abs=1e-5)


def test_a_network_that_gives_all_the_same_has_the_triplet_loss_of_chance():
    method = made(Triplet)
    nn.init.zeros_(method.backbone.body[1].weight)
    assert step(method)["loss"] == pytest.approx(step(method)["loss_chance"]) == pytest.approx(0.2)


def test_without_any_triplet_the_loss_is_nothing_and_can_go_backward():
    method = made(Triplet).train()
    one = Batch(batch().x, torch.zeros(9, dtype=torch.int64), torch.arange(9))
    loss = method.step(one, torch.Generator())["loss"]
    loss.backward()
    assert loss.item() == 0


def gradients(kind, parts):
    from fewlabels.distributed import rank, world_size

    method = made(kind).train().double()
    method.backbone.normalise = lambda x: (x.double() / 255 - 0.5) / 0.25
    method.step(parts[rank()], torch.Generator())["loss"].backward()
    found = []
    for parameter in method.parameters():
        if world_size() > 1:
            torch.distributed.all_reduce(parameter.grad)  # what DDP does
        found.append(parameter.grad / world_size())
    return found


@pytest.mark.parametrize("kind", [Softmax, ArcFace, Triplet])
def test_two_processes_have_the_gradient_of_one(kind):
    whole = batch(8)
    halves = [Batch(*(part[i * 4 : i * 4 + 4] for part in whole)) for i in range(2)]
    alone = gradients(kind, [whole])
    for rank in gloo.run_on_ranks(gradients, 2, kind, halves):
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(alone, rank, strict=True))


@pytest.mark.parametrize(("kind", "options", "message"), [
    (ArcFace, {"margin": 90.0}, "method.margin=90.0: give degrees from 0 to below 90"),
    (ArcFace, {"scale": 0.0}, "method.scale=0.0"),
    (Triplet, {"margin": 0.0}, "method.margin=0.0: give a distance between 0 and 2"),
    (Triplet, {"warmup_epochs": -1}, "method.warmup_epochs=-1"),
])  # fmt: skip
def test_settings_out_of_range_are_refused(kind, options, message):
    with pytest.raises(UserError, match=message):
        made(kind, **options)
