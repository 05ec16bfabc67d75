"""The description of a backbone's input, and the multilayer perceptron."""

import pytest
import torch
from torch import nn

from fewlabels.core.backbones import Backbone, mlp, vision
from fewlabels.core.errors import UserError


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("channels", "mean", "std"), [(3, [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]), (1, [0.4], [0.3])])
def test_normalise_subtracts_the_mean_and_divides_by_std_for_uint8_and_float(channels, mean, std):
    backbone = Backbone(nn.Flatten(), channels=channels, size=8, mean=mean, std=std)
    x = (255 * noise(4, channels, 8, 8)).to(torch.uint8)
    expected = (x / 255 - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    assert torch.allclose(backbone.normalise(x), expected, atol=1e-5)
    assert torch.allclose(backbone.normalise(x / 255), expected, atol=1e-5)


def test_mlp_embeds_points_without_normalisation():
    backbone = mlp(channels=2, hidden=[16, 8], dim=3)
    points = noise(5, 2)
    assert backbone.normalise(points) is points
    assert backbone(points).shape == (5, 3)
    assert (backbone.dim, backbone.size, backbone.channels) == (3, None, 2)
    widths = [(layer.in_features, layer.out_features) for layer in backbone.body if isinstance(layer, nn.Linear)]
    assert widths == [(2, 16), (16, 8), (8, 3)]
    assert isinstance(backbone.body[-1], nn.Linear)


def test_measuring_the_dimension_changes_neither_statistics_nor_mode():
    body = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3))
    backbone = Backbone(body, channels=1, size=2, mean=[0.0], std=[1.0])
    assert backbone.dim == 3
    assert body.training
    assert body[2].training
    assert body[2].num_batches_tracked == 0


def test_frozen_norms_keep_their_statistics_but_learn_scale_and_shift():
    body = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    backbone = Backbone(body, channels=1, size=2, mean=[0.0], std=[1.0], frozen_norms=True)
    before = {name: value.clone() for name, value in body[2].named_buffers()}
    whole = nn.Sequential(backbone, nn.BatchNorm1d(3)).train()
    assert [backbone.training, body[2].training, body[3].training, whole[1].training] == [True, False, True, True]
    whole(noise(8, 1, 2, 2)).square().mean().backward()
    assert all(torch.equal(before[name], value) for name, value in body[2].named_buffers())
    assert body[2].weight.grad is not None
    assert not backbone.eval().training


def test_points_and_images_need_different_backbones():
    with pytest.raises(UserError, match=r"backbone=mlp takes points.*backbone=resnet18"):
        mlp(channels=3, hidden=[4], dim=2, size=32)
    with pytest.raises(UserError, match=r"backbone\.name=resnet18 takes images.*backbone=mlp"):
        vision(name="resnet18", size=None, channels=2, mean=[0.0], std=[1.0])


def test_normalising_needs_no_tensor_that_is_made_anew():
    backbone = Backbone(nn.Flatten(), channels=1, size=2, mean=[0.4], std=[0.3]).to("meta")
    assert backbone.normalise(torch.zeros(2, 1, 2, 2, device="meta")).device.type == "meta"
    assert not backbone.state_dict()
