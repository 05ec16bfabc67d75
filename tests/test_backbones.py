from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from fewlabels import load_backbone
from fewlabels.backbones import SMALL_IMAGE, Backbone, _adapt_channels, mlp, vision
from fewlabels.errors import UserError
from fewlabels.loading import load_weights, read_checkpoint

RGB = {"channels": 3, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def save(backbone, path, **changes):
    """What a method's checkpoint holds of its backbone."""
    weights = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    checkpoint = {
        "state_dict": weights | {"head.weight": torch.zeros(2)},
        "fewlabels": {"backbone": backbone.description},
    }
    torch.save(checkpoint | changes, path)
    return path


def shake(backbone):
    """Random weights and statistics everywhere, as after training."""
    generator = torch.Generator().manual_seed(1)
    for value in backbone.state_dict().values():
        if value.is_floating_point():
            value.copy_(0.5 * torch.rand(value.shape, generator=generator) / max(1, value[0].numel()) ** 0.5 + 0.1)
    return backbone


@pytest.mark.parametrize(
    ("name", "dim"),
    [("resnet18", 512), ("mobilenet_v3_small", 1024), ("efficientnet_b0", 1280), ("squeezenet1_1", None)],
)
def test_any_classifier_loses_its_classifier_alone(name, dim):
    if dim is None:  # its classifier is a convolution
        with pytest.raises(UserError, match=rf"backbone\.name={name} does not end in a linear classifier"):
            vision(name=name, size=64, **RGB)
        return
    backbone = vision(name=name, size=64, **RGB)
    whole = getattr(models, name)()
    theirs = {k: v.shape for k, v in whole.state_dict().items()}
    ours = {k.removeprefix("body."): v.shape for k, v in backbone.state_dict().items()}
    gone = theirs.keys() - ours.keys()
    last = list(theirs)[-1].rpartition(".")[0]
    assert gone == {f"{last}.weight", f"{last}.bias"}
    assert ours == {k: theirs[k] for k in ours}
    assert theirs[f"{last}.weight"] == (1000, dim)
    assert backbone.dim == dim
    assert backbone.eval()(noise(2, 3, 64, 64)).shape == (2, dim)


def test_a_vision_transformer_takes_the_size_of_the_images():
    backbone = vision(name="vit_b_32", size=32, **RGB)
    assert backbone.dim == 768
    assert backbone(noise(2, 3, 32, 32)).shape == (2, 768)
    assert not any("heads.head" in name for name in backbone.state_dict())


def test_googlenet_answers_one_tensor_in_training_too():
    backbone = vision(name="googlenet", size=64, channels=1, mean=[0.5], std=[0.2])
    assert backbone.train()(noise(2, 1, 64, 64)).shape == (2, 1024)
    assert not any("aux" in name for name in backbone.state_dict())


def test_what_precedes_the_classifier_is_the_embedding():
    backbone = vision(name="resnet18", size=64, **RGB).eval()
    whole = models.resnet18().eval()
    whole.load_state_dict({k.removeprefix("body."): v for k, v in backbone.state_dict().items()}, strict=False)
    x = noise(2, 3, 64, 64)
    assert torch.allclose(whole(x), whole.fc(backbone(x)), atol=1e-5)


@pytest.mark.parametrize(
    ("size", "channels", "kernel", "resolution"),
    [(SMALL_IMAGE - 1, 3, 3, SMALL_IMAGE - 1), (SMALL_IMAGE, 3, 7, SMALL_IMAGE // 4), (32, 1, 3, 32)],
)
def test_the_stem_follows_the_size(size, channels, kernel, resolution):
    body = vision(name="resnet18", size=size, channels=channels, mean=[0.5], std=[0.5]).body
    assert body.conv1.kernel_size == (kernel, kernel)
    assert body.conv1.in_channels == channels
    stem = nn.Sequential(body.conv1, body.bn1, body.relu, body.maxpool, body.layer1).eval()
    assert stem(noise(1, channels, size, size)).shape == (1, 64, resolution, resolution)


@pytest.mark.parametrize("conv", [{"bias": False, "stride": 2, "padding": 3}, {"bias": True}])
def test_with_weights_kept_a_grey_image_gives_what_its_rgb_copy_gave(conv):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 7, **conv), nn.BatchNorm2d(8)), nn.ReLU(), nn.Conv2d(8, 4, 3))
    body.eval()
    grey = noise(2, 1, 32, 32)
    before = body(grey.expand(-1, 3, -1, -1))
    _adapt_channels(body, 1, keep_weights=True)
    assert body[0][0].in_channels == 1
    assert torch.allclose(body(grey), before, atol=1e-4)


def test_without_weights_the_new_kernel_is_random():
    body = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1))
    _adapt_channels(body, 1, keep_weights=False)
    assert body[0].weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.2)  # kaiming, fan out


@pytest.mark.parametrize(("channels", "mean", "std"), [(3, [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]), (1, [0.4], [0.3])])
def test_normalise_is_the_formula_for_bytes_and_floats(channels, mean, std):
    backbone = Backbone(nn.Flatten(), channels=channels, size=8, mean=mean, std=std)
    x = (255 * noise(4, channels, 8, 8)).to(torch.uint8)
    expected = (x / 255 - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    assert torch.allclose(backbone.normalise(x), expected, atol=1e-5)
    assert torch.allclose(backbone.normalise(x / 255), expected, atol=1e-5)


def test_points_go_through_a_perceptron_as_they_are():
    backbone = mlp(channels=2, hidden=[16, 8], dim=3)
    points = noise(5, 2)
    assert backbone.normalise(points) is points
    assert backbone(points).shape == (5, 3)
    assert (backbone.dim, backbone.size, backbone.channels) == (3, None, 2)
    widths = [(layer.in_features, layer.out_features) for layer in backbone.body if isinstance(layer, nn.Linear)]
    assert widths == [(2, 16), (16, 8), (8, 3)]
    assert isinstance(backbone.body[-1], nn.Linear)


def test_finding_the_dimension_leaves_network_and_mode_alone():
    body = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3))
    backbone = Backbone(body, channels=1, size=2, mean=[0.0], std=[1.0])
    assert backbone.dim == 3
    assert body.training
    assert body[2].training
    assert body[2].num_batches_tracked == 0


def test_points_and_images_are_not_mixed_up():
    with pytest.raises(UserError, match=r"backbone=mlp takes points.*backbone=resnet18"):
        mlp(channels=3, hidden=[4], dim=2, size=32)
    with pytest.raises(UserError, match=r"backbone\.name=resnet18 takes images.*backbone=mlp"):
        vision(name="resnet18", size=None, channels=2, mean=[0.0], std=[1.0])


def test_an_unknown_name_suggests_near_ones():
    with pytest.raises(UserError, match=r"backbone\.name=resnet81.*Did you mean .*resnet18"):
        vision(name="resnet81", size=64, **RGB)


def test_a_size_that_a_network_cannot_take_is_refused():
    with pytest.raises(UserError, match=r"shape \[3, 16, 16\].*data\.size"):
        vision(name="inception_v3", size=16, **RGB)


def test_unknown_weights_list_the_known_ones():
    with pytest.raises(UserError, match=r"backbone\.weights=imagenet21k does not exist for resnet18.*IMAGENET1K_V1"):
        vision(name="resnet18", size=64, weights="imagenet21k", **RGB)


def test_weights_that_cannot_be_fetched_say_so(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for proxy in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(UserError, match=r"backbone\.weights=imagenet.*fetched.*null"):
        vision(name="resnet18", size=64, weights="imagenet", **RGB)


def test_a_perceptron_comes_back_from_its_checkpoint(tmp_path):
    backbone = shake(mlp(channels=2, hidden=[16, 8], dim=3))
    loaded = load_backbone(save(backbone, tmp_path / "a.ckpt"))
    assert not loaded.training
    assert torch.equal(loaded(noise(5, 2)), backbone(noise(5, 2)))
    assert (loaded.dim, loaded.size) == (3, None)


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (64, 3)])
def test_a_network_comes_back_from_its_run_with_what_it_expects(size, channels, tmp_path):
    constants = {"mean": [0.5] * channels, "std": [0.25] * channels}
    backbone = shake(vision(name="resnet18", size=size, channels=channels, **constants)).eval()
    (tmp_path / "checkpoints").mkdir()
    save(backbone, tmp_path / "checkpoints" / "last.ckpt")
    loaded = load_backbone(tmp_path)
    x = noise(2, channels, size, size)
    assert torch.equal(loaded(loaded.normalise(x)), backbone(backbone.normalise(x)))
    assert (loaded.size, loaded.channels, loaded.dim) == (size, channels, 512)
    assert (list(loaded.mean), list(loaded.std)) == (constants["mean"], constants["std"])
    assert not any(module.training for module in loaded.modules())
    assert loaded.description == backbone.description


def test_a_network_that_began_from_weights_comes_back_with_their_stem(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # where torchvision looks before it downloads
    downloaded = tmp_path / "hub" / "checkpoints" / Path(models.ResNet18_Weights.DEFAULT.url).name
    downloaded.parent.mkdir(parents=True)
    torch.save(models.resnet18().state_dict(), downloaded)
    backbone = vision(name="resnet18", size=32, weights="imagenet", channels=1, mean=[0.5], std=[0.5])
    assert backbone.body.conv1.kernel_size == (7, 7)
    shake(backbone).eval()
    path = save(backbone, tmp_path / "a.ckpt")
    downloaded.unlink()  # loading must not need them
    loaded = load_backbone(path)
    assert torch.equal(loaded(noise(2, 1, 32, 32)), backbone(noise(2, 1, 32, 32)))
    assert loaded.description == backbone.description


def test_checkpoints_hold_nothing_but_plain_things(tmp_path):
    path = save(mlp(channels=2, hidden=[4], dim=1), tmp_path / "a.ckpt")
    checkpoint, found = read_checkpoint(path)  # reads with weights_only=True
    assert found == path
    assert checkpoint["fewlabels"]["backbone"] == {
        "builder": "fewlabels.backbones:mlp",
        "channels": 2,
        "hidden": [4],
        "dim": 1,
    }


@pytest.mark.parametrize("other", [{"hidden": [4, 4]}, {"hidden": []}, {"hidden": [5]}], ids=["more", "fewer", "wider"])
def test_weights_of_another_backbone_are_refused(other, tmp_path):
    checkpoint, path = read_checkpoint(save(mlp(channels=2, hidden=[4], dim=1), tmp_path / "a.ckpt"))
    backbone = mlp(channels=2, dim=1, **other)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with pytest.raises(UserError, match=r"holds another backbone.*missing, left over or of another shape.*body\."):
        load_weights(backbone, checkpoint, path)
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())


def test_a_missing_weight_is_named(tmp_path):
    backbone = mlp(channels=2, hidden=[4], dim=1)
    weights = {f"backbone.{name}": value for name, value in backbone.state_dict().items() if name != "body.2.bias"}
    with pytest.raises(UserError, match=r"1 of 4 weights.*body\.2\.bias"):
        load_backbone(save(backbone, tmp_path / "a.ckpt", state_dict=weights))


def test_what_is_no_checkpoint_of_ours_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*checkpoints/last\.ckpt"):
        load_backbone(tmp_path)
    with pytest.raises(UserError, match="there is no file"):
        load_backbone(tmp_path / "gone.ckpt")
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    with pytest.raises(UserError, match=r"is no checkpoint, or is damaged: .* Give a whole one"):
        load_backbone(tmp_path / "text.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(UserError, match="not written by this project"):
        load_backbone(tmp_path / "foreign.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(UserError, match="not written by this project"):
        load_backbone(tmp_path / "list.ckpt")
