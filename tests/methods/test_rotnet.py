"""RotNet: loss and targets of rotated images, and settings that are refused."""

import math

import pytest
import torch
from torch import nn

from fewlabels.core.backbones import Backbone
from fewlabels.core.batch import Batch
from fewlabels.core.errors import UserError
from fewlabels.core.optim import OptimizerConfig
from fewlabels.methods.rotnet import RotNet
from fewlabels.methods.views import RandomViews, rotations

SIZE = 16
IDENTITY = {"scale": [1.0, 1.0], "ratio": [1.0, 1.0], "horizontal_flip": 0.0, "jitter": 0.0, "grey": 0.0, "blur": 0.0}


def make_method(count=4, body=None, views=IDENTITY, mean=0.0, std=1.0):
    torch.manual_seed(0)
    body = body or nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 8))
    backbone = Backbone(body, channels=1, size=SIZE, mean=[mean], std=[std])
    optimizer = OptimizerConfig(name="sgd", lr=0.1)
    return RotNet(views=RandomViews(**views), rotations=count, backbone=backbone, optimizer=optimizer, seed=0)


def batch(x):
    return Batch(x, torch.zeros(len(x), dtype=torch.int64), torch.arange(len(x)))


def images(count=5):
    return torch.randint(0, 256, (count, 1, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def step(method, x):
    return {k: v.item() for k, v in method.step(batch(x), torch.Generator().manual_seed(0)).items()}


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("training", [True, False])
def test_a_zero_head_has_the_loss_at_chance_level(count, training):
    method = make_method(count).train(training)
    nn.init.zeros_(method.head.weight)
    nn.init.zeros_(method.head.bias)
    metrics = step(method, images())
    assert metrics["loss"] == pytest.approx(math.log(count))
    assert metrics["loss_chance"] == pytest.approx(math.log(count))
    assert metrics["rotation_accuracy"] == pytest.approx(1 / count)  # it always predicts the first rotation


class EdgeBrightness(nn.Module):
    """Mean brightness of the top, left, bottom and right edge: the order of a rotation anticlockwise."""

    def forward(self, x):
        edges = x[..., 0, :], x[..., :, 0], x[..., -1, :], x[..., :, -1]
        return torch.cat([edge.mean(-1) for edge in edges], 1)


@pytest.mark.parametrize("training", [True, False])
def test_targets_are_the_steps_anticlockwise(training):
    x = torch.zeros(5, 1, SIZE, SIZE, dtype=torch.uint8)
    x[:, :, 0, 1:-1] = 255
    method = make_method(4, EdgeBrightness()).train(training)
    with torch.no_grad():
        method.head.weight.copy_(100 * torch.eye(4))
        method.head.bias.zero_()
    metrics = step(method, x)
    assert metrics["rotation_accuracy"] == 1
    assert metrics["loss"] < 1e-6


@pytest.mark.parametrize("count", [2, 3, 4])
def test_loss_is_that_of_plain_loops(count):
    method, x = make_method(count, mean=0.4, std=0.3), images(3)
    losses, hits = [], []
    for rotated, target in zip(rotations(x / 255, count), torch.arange(count).repeat_interleave(3), strict=True):
        logits = method.head(method.backbone((rotated[None] - 0.4) / 0.3))[0]
        losses.append(-(logits[target].exp() / logits.exp().sum()).log().item())
        hits.append(float(logits.argmax() == target))
    for training in (True, False):
        metrics = step(method.train(training), x)
        assert metrics["loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)
        assert metrics["rotation_accuracy"] == pytest.approx(sum(hits) / len(hits))


def test_views_are_drawn_once_per_image_and_only_in_training():
    method = make_method(2, views=IDENTITY | {"horizontal_flip": 0.5, "jitter": 1.0})
    inputs = []
    method.backbone.register_forward_pre_hook(lambda module, x: inputs.append(x[0]))
    step(method.train(), images(6))
    step(method.eval(), images(6))
    training, evaluation = inputs
    assert torch.allclose(evaluation[:6], images(6) / 255, atol=1e-6)
    assert not torch.allclose(training[:6], images(6) / 255, atol=0.01)
    assert torch.allclose(training[6:], training[:6].rot90(2, (2, 3)))  # the same view, rotated


def test_the_preview_has_every_rotation():
    preview = make_method(3).preview_views(images(2), torch.Generator().manual_seed(0))
    assert list(preview) == ["original", "0°", "120°", "240°"]
    assert all(x.shape == (2, 1, SIZE, SIZE) for x in preview.values())


@pytest.mark.parametrize(("views", "message"), [
    ({"degrees": 10.0}, r"method\.views: degrees=10 and vertical_flip=0.*method\.views\.degrees=0"),
    ({"vertical_flip": 0.5}, r"method\.views: degrees=0 and vertical_flip=0\.5.*method\.views\.vertical_flip=0"),
])  # fmt: skip
def test_views_that_rotate_or_flip_vertically_are_refused(views, message):
    with pytest.raises(UserError, match=message):
        make_method(views=IDENTITY | views)


@pytest.mark.parametrize("count", [1, 5, 0])
def test_other_numbers_of_rotations_are_refused(count):
    with pytest.raises(UserError, match=rf"method\.rotations={count}"):
        make_method(count)
