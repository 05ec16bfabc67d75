import numpy as np
import pytest
import torch
from torch import nn

from fewlabels.core.backbones import Backbone
from fewlabels.core.optim import OptimizerConfig
from fewlabels.evaluation.analyses.rotation_confusion import RotationConfusion
from fewlabels.methods.rotnet import RotNet
from fewlabels.methods.views import RandomViews, rotations


class BrightestQuadrant(nn.Module):
    """Mean brightness of the top left, bottom left, bottom right and top right quadrant: where a corner rotates to."""

    def forward(self, x):
        half = x.shape[-1] // 2
        top, bottom = x[..., :half, :], x[..., half:, :]
        parts = (top[..., :half], bottom[..., :half], bottom[..., half:], top[..., half:])
        return torch.stack([part.mean((1, 2, 3)) for part in parts], 1)


@pytest.fixture
def rotnet():
    """Make a RotNet that predicts the rotation from the brightest quadrant."""

    def make(count, head):
        backbone = Backbone(BrightestQuadrant(), channels=1, size=32, mean=[0.5], std=[0.25])
        views = RandomViews(degrees=0, vertical_flip=0)
        optimizer = OptimizerConfig(name="sgd", lr=0.1)
        method = RotNet(views=views, rotations=count, backbone=backbone, optimizer=optimizer, seed=0).eval()
        method.head = head
        return method

    return make


def test_a_network_that_recognises_rotations_has_a_diagonal_matrix(context, made_up, rotnet, drawn, monkeypatch):
    x = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    x[..., :16, :16] = 255
    order = BrightestQuadrant()(rotations(x, 4).float()).argmax(1)  # the quadrant of each rotation
    images = x.expand(10, -1, -1, -1)
    monkeypatch.setattr(context.data, "loader", lambda split: [(images[:6], None, None), (images[6:], None, None)])
    head = nn.Linear(4, 4, bias=False)
    head.weight.data = torch.eye(4)[order]
    calls = drawn("rotation_confusion", "confusion_figure")["confusion_figure"]
    result = RotationConfusion().run(made_up(method=rotnet(4, head)))
    (names, counts), _ = calls[0]
    assert names == ["0°", "90°", "180°", "270°"]
    assert np.array_equal(counts, 10 * np.eye(4))
    assert list(result.figures) == ["rotations"]


@pytest.mark.parametrize(("count", "names"), [(2, ["0°", "180°"]), (3, ["0°", "120°", "240°"])])
def test_every_rotation_of_every_test_image_is_predicted(context, made_up, rotnet, drawn, count, names):
    calls = drawn("rotation_confusion", "confusion_figure")["confusion_figure"]
    RotationConfusion().run(made_up(method=rotnet(count, nn.Linear(4, count))))
    (found, counts), _ = calls[0]
    assert found == names
    assert counts.sum(1).tolist() == [len(context.data.indices("test"))] * count


def test_other_methods_have_no_matrix(context):
    result = RotationConfusion().run(context)
    assert not result.figures
    assert not result.left_out
