"""Backbones, compared with torchvision's models."""

import itertools

import pytest
import torch
from torch import nn
from torchvision import models

from fewlabels.core.backbones import SMALL_IMAGE, Backbone, _adapt_channels, blocks, mlp, vision
from fewlabels.core.errors import UserError

RGB = {"channels": 3, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("name", "dim"),
    [("resnet18", 512), ("mobilenet_v3_small", 1024), ("efficientnet_b0", 1280), ("squeezenet1_1", None)],
)
def test_only_the_classifier_is_removed(name, dim):
    if dim is None:  # its classifier is a convolution
        with pytest.raises(UserError, match=rf"backbone\.name={name} does not end in a linear classifier"):
            vision(name=name, size=64, **RGB)
        return
    backbone = vision(name=name, size=64, **RGB)
    theirs = {k: v.shape for k, v in getattr(models, name)().state_dict().items()}
    ours = {k.removeprefix("body."): v.shape for k, v in backbone.state_dict().items()}
    removed = theirs.keys() - ours.keys()
    last = list(theirs)[-1].rpartition(".")[0]
    assert removed == {f"{last}.weight", f"{last}.bias"}
    assert ours == {k: theirs[k] for k in ours}
    assert theirs[f"{last}.weight"] == (1000, dim)
    assert backbone.dim == dim
    assert backbone.eval()(noise(2, 3, 64, 64)).shape == (2, dim)


def test_a_vision_transformer_is_built_for_the_image_size():
    backbone = vision(name="vit_b_32", size=32, **RGB)
    assert backbone.dim == 768
    assert backbone(noise(2, 3, 32, 32)).shape == (2, 768)
    assert not any("heads.head" in name for name in backbone.state_dict())


def test_googlenet_returns_a_single_tensor_in_training_mode():
    backbone = vision(name="googlenet", size=64, channels=1, mean=[0.5], std=[0.2])
    assert backbone.train()(noise(2, 1, 64, 64)).shape == (2, 1024)
    assert not any("aux" in name for name in backbone.state_dict())


def test_the_embedding_is_the_input_of_the_classifier():
    backbone = vision(name="resnet18", size=64, **RGB).eval()
    classifier = models.resnet18().eval()
    classifier.load_state_dict({k.removeprefix("body."): v for k, v in backbone.state_dict().items()}, strict=False)
    x = noise(2, 3, 64, 64)
    assert torch.allclose(classifier(x), classifier.fc(backbone(x)), atol=1e-5)


@pytest.mark.parametrize(
    ("size", "channels", "kernel", "resolution"),
    [(SMALL_IMAGE - 1, 3, 3, SMALL_IMAGE - 1), (SMALL_IMAGE, 3, 7, SMALL_IMAGE // 4), (32, 1, 3, 32)],
)
def test_the_stem_depends_on_the_image_size(size, channels, kernel, resolution):
    body = vision(name="resnet18", size=size, channels=channels, mean=[0.5], std=[0.5]).body
    assert body.conv1.kernel_size == (kernel, kernel)
    assert body.conv1.in_channels == channels
    stem = nn.Sequential(body.conv1, body.bn1, body.relu, body.maxpool, body.layer1).eval()
    assert stem(noise(1, channels, size, size)).shape == (1, 64, resolution, resolution)


@pytest.mark.parametrize("conv", [{"bias": False, "stride": 2, "padding": 3}, {"bias": True}])
def test_adapted_weights_give_a_grey_image_the_output_of_its_rgb_copy(conv):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 7, **conv), nn.BatchNorm2d(8)), nn.ReLU(), nn.Conv2d(8, 4, 3))
    body.eval()
    grey = noise(2, 1, 32, 32)
    before = body(grey.expand(-1, 3, -1, -1))
    _adapt_channels(body, 1, keep_weights=True)
    assert body[0][0].in_channels == 1
    assert torch.allclose(body(grey), before, atol=1e-4)


def test_the_adapted_kernel_is_random_without_pretrained_weights():
    body = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1))
    _adapt_channels(body, 1, keep_weights=False)
    assert body[0].weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.2)  # kaiming, fan out


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


def test_points_and_images_need_different_backbones():
    with pytest.raises(UserError, match=r"backbone=mlp takes points.*backbone=resnet18"):
        mlp(channels=3, hidden=[4], dim=2, size=32)
    with pytest.raises(UserError, match=r"backbone\.name=resnet18 takes images.*backbone=mlp"):
        vision(name="resnet18", size=None, channels=2, mean=[0.0], std=[1.0])


def test_an_unknown_name_suggests_similar_names():
    with pytest.raises(UserError, match=r"backbone\.name=resnet81.*Did you mean .*resnet18"):
        vision(name="resnet81", size=64, **RGB)


def test_an_image_size_that_the_network_does_not_accept_is_rejected():
    with pytest.raises(UserError, match=r"shape \[3, 16, 16\].*data\.size"):
        vision(name="inception_v3", size=16, **RGB)


def test_unknown_weights_are_rejected_with_the_known_ones():
    with pytest.raises(UserError, match=r"backbone\.weights=imagenet21k does not exist for resnet18.*IMAGENET1K_V1"):
        vision(name="resnet18", size=64, weights="imagenet21k", **RGB)


def test_weights_that_cannot_be_downloaded_are_rejected(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for proxy in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # a closed port
    with pytest.raises(UserError, match=r"backbone\.weights=imagenet.*downloaded.*null"):
        vision(name="resnet18", size=64, weights="imagenet", **RGB)


@pytest.mark.parametrize("hidden", [0, 3, 6, 40])
def test_blocks_are_at_most_eight_evenly_spaced_from_the_first_to_the_last(hidden):
    backbone = mlp(channels=2, hidden=[3] * hidden, dim=1)
    stages, count = blocks(backbone), len(backbone.body)
    numbers = [int(name.removeprefix("block ")) for name in stages]
    assert (numbers[0], numbers[-1], len(numbers)) == (1, count, min(count, 8))
    gaps = [after - before for before, after in itertools.pairwise(numbers)]
    assert not gaps or max(gaps) - min(gaps) <= 1
    assert all(stages[f"block {number}"] is backbone.body[number - 1] for number in numbers)


def test_blocks_of_a_resnet_are_its_four_stages():
    backbone = vision(name="resnet18", size=64, **RGB)
    assert list(blocks(backbone).values()) == [getattr(backbone.body, f"layer{k}") for k in range(1, 5)]


def test_a_network_with_unknown_blocks_is_rejected():
    with pytest.raises(UserError, match=r"backbone=Flatten: its blocks are unknown.*layer1"):
        blocks(Backbone(nn.Flatten(), channels=1, size=2, mean=[0.0], std=[1.0]))


def test_a_network_whose_first_layer_is_no_plain_convolution_keeps_its_stem():
    backbone = vision(name="shufflenet_v2_x0_5", channels=3, size=32, mean=[0.5] * 3, std=[0.25] * 3)
    assert backbone(torch.zeros(2, 3, 32, 32)).shape == (2, backbone.dim)
