"""Torchvision's backbones, compared with its models."""

import pytest
import torch
from torch import nn
from torchvision import models

from fewlabels.core.backbones import SMALL_IMAGE, vision
from fewlabels.core.backbones.torchvision_models import _adapt_channels
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


def test_a_network_whose_first_layer_is_no_plain_convolution_keeps_its_stem():
    backbone = vision(name="shufflenet_v2_x0_5", channels=3, size=32, mean=[0.5] * 3, std=[0.25] * 3)
    assert backbone(torch.zeros(2, 3, 32, 32)).shape == (2, backbone.dim)


@pytest.mark.parametrize("classes", [1000, 7])
def test_weights_of_a_file_are_those_of_the_network_without_its_classifier(tmp_path, classes):
    model = models.mobilenet_v3_small(num_classes=classes).eval()
    torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "weights.pth")
    backbone = vision(name="mobilenet_v3_small", size=32, weights=str(tmp_path / "weights.pth"), **RGB).eval()
    x = noise(2, 3, 32, 32)
    assert torch.allclose(model.classifier[3](backbone(x)), model(x), atol=1e-5)
    assert (backbone.mean, backbone.std) == ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def test_weights_of_another_network_are_rejected(tmp_path):
    torch.save(models.resnet18().state_dict(), tmp_path / "weights.pth")
    with pytest.raises(
        UserError, match=r"backbone\.weights=.*weights\.pth: not the weights of torchvision's mobilenet"
    ):
        vision(name="mobilenet_v3_small", size=32, weights=str(tmp_path / "weights.pth"), **RGB)


def test_torchvisions_weights_bring_their_normalisation(monkeypatch):
    monkeypatch.setattr(models, "get_model", lambda name, weights, **_: models.resnet18())
    backbone = vision(name="resnet18", size=64, weights="imagenet", **RGB)
    assert (backbone.mean, backbone.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    grey = vision(name="resnet18", size=64, weights="imagenet", channels=1, mean=[0.5], std=[0.25])
    assert grey.mean == pytest.approx((0.449,))
    assert grey.std == pytest.approx((0.226,))


def test_norms_are_frozen_if_the_weights_are_pretrained(tmp_path):
    torch.save(models.resnet18().state_dict(), tmp_path / "weights.pth")
    pretrained = {"name": "resnet18", "size": 64, "weights": str(tmp_path / "weights.pth")} | RGB
    assert not vision(**pretrained | {"weights": None}).frozen_norms
    assert vision(**pretrained).frozen_norms
    assert not vision(**pretrained, frozen_norms=False).frozen_norms
