"""Siamese networks on points of a line and on images."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from fewlabels.core.backbones import mlp, vision
from fewlabels.core.batch import Batch
from fewlabels.core.errors import UserError
from fewlabels.core.knn_graph import draw_pairs
from fewlabels.core.optim import OptimizerConfig
from fewlabels.methods.siamese import Siamese
from fewlabels.methods.views import RandomViews

OPTIMIZER = OptimizerConfig(name="adamw", lr=0.01)


@pytest.fixture(name="line")
def points_on_a_line():
    """Two splits of 30 points each on a line; the embedding is the position on it, divided by 3."""
    method = Siamese(views=None, k=2, cutoff=3, backbone=mlp(channels=2, hidden=[], dim=1), optimizer=OPTIMIZER, seed=0)
    rng = np.random.default_rng(0)
    points = np.stack([np.tile(np.arange(30), 2) + 0.01 * rng.random(60), np.zeros(60)], 1).astype(np.float32)
    method.build_graphs({"train": (np.arange(30), points[:30]), "val": (np.arange(30, 60), points[30:])})
    with torch.no_grad():
        method.backbone.body[0].weight.copy_(torch.tensor([[1 / 3, 0.0]]))
    return method, torch.from_numpy(points)


def batch(points, rows):
    rows = torch.as_tensor(rows)
    return Batch(points[rows], torch.zeros(len(rows), dtype=torch.int64), rows)


def test_pairs_are_within_a_split(line):
    method, _ = line
    assert torch.all(method.hops[:30, 30:] == 0)
    assert torch.all(method.hops[30:, 30:].diagonal() == 0)
    assert method.hops[0, 1] == 1


def test_a_zero_head_has_the_loss_at_chance_level(line):
    method, points = line
    nn.init.zeros_(method.head.weight)
    nn.init.zeros_(method.head.bias)
    metrics = method.step(batch(points, range(30)), torch.Generator().manual_seed(0))
    assert metrics["loss"].item() == pytest.approx(math.log(2))
    assert metrics["loss_chance"].item() == pytest.approx(math.log(2))


def test_the_true_order_with_the_right_threshold_classifies_all_pairs(line):
    method, points = line
    with torch.no_grad():  # the threshold is between 3 and 4 hops of 1 / 3 each
        method.head.weight.fill_(-300)
        method.head.bias.fill_(350)
    metrics = method.step(batch(points, range(38, 52)), torch.Generator().manual_seed(0))
    assert metrics["pair_accuracy"] == 1
    assert metrics["loss"] < 1e-3


def test_loss_is_that_of_plain_loops(line):
    method, points = line
    anchors = batch(points, [3, 40, 17])
    metrics = method.step(anchors, torch.Generator().manual_seed(5))
    positive, negative = draw_pairs(method.hops, anchors.index, 3, torch.Generator().manual_seed(5))
    w, b, total = method.head.weight.item(), method.head.bias.item(), 0.0
    for i, (p, q) in enumerate(zip(positive, negative, strict=True)):
        for partner, same in ((p, True), (q, False)):
            logit = w * abs(method.embed(anchors.x[i : i + 1]) - method.embed(points[partner][None])).item() + b
            total += math.log1p(math.exp(-logit if same else logit))
    assert metrics["loss"].item() == pytest.approx(total / 6, rel=1e-5)


def test_points_stay_in_float32_under_autocast(line):
    method, points = line
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = method.step(batch(points, range(30)), torch.Generator().manual_seed(0))
    full = method.step(batch(points, range(30)), torch.Generator().manual_seed(0))
    assert mixed["loss"].dtype == torch.float32
    assert torch.equal(mixed["loss"], full["loss"])


def test_two_views_of_an_image_are_a_positive_pair():
    constants = {"channels": 3, "size": 32, "mean": [0.5], "std": [0.25]}
    views = RandomViews(scale=[1.0, 1.0], ratio=[1.0, 1.0], jitter=0.0, grey=0.0, blur=0.0, horizontal_flip=0.0)
    method = Siamese(views=views, backbone=vision(name="resnet18", **constants), optimizer=OPTIMIZER, seed=0).eval()
    x = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        method.head.weight.fill_(-1e4)
    metrics = method.step(Batch(x, torch.zeros(4), torch.arange(4)), torch.Generator())
    assert metrics["pair_accuracy"] == 1  # the views are equal, so the distance of a positive pair is 0
    assert set(method.preview_views(x, torch.Generator())) == {"original", "view 1", "view 2"}


def test_too_few_points_are_refused():
    method = Siamese(views=None, backbone=mlp(channels=2, hidden=[], dim=1), optimizer=OPTIMIZER, seed=0)
    with pytest.raises(UserError, match=r"method\.k=6"):
        method.build_graphs({"train": (np.arange(5), np.zeros((5, 2), np.float32))})
