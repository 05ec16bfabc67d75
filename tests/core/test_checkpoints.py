"""Backbones rebuilt from checkpoints, and initial weights for finetuning."""

import logging
from pathlib import Path

import pytest
import torch
from torchvision import models

from fewlabels import load_backbone
from fewlabels.core.backbones import mlp, vision
from fewlabels.core.checkpoints import (
    digest,
    init_from_checkpoint,
    load_backbone_weights,
    read_checkpoint,
)
from fewlabels.core.errors import UserError


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def save(backbone, path, **changes):
    """Write a checkpoint with what `load_backbone` reads of a method's checkpoint."""
    weights = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    checkpoint = {
        "state_dict": weights | {"head.weight": torch.zeros(2)},
        "fewlabels": {"backbone": backbone.description},
    }
    torch.save(checkpoint | changes, path)
    return path


def randomise(backbone):
    """Random weights and batch-norm statistics, as after training."""
    generator = torch.Generator().manual_seed(1)
    for value in backbone.state_dict().values():
        if value.is_floating_point():
            value.copy_(0.5 * torch.rand(value.shape, generator=generator) / max(1, value[0].numel()) ** 0.5 + 0.1)
    return backbone


def test_an_mlp_is_rebuilt_from_its_checkpoint(tmp_path):
    backbone = randomise(mlp(channels=2, hidden=[16, 8], dim=3))
    loaded = load_backbone(save(backbone, tmp_path / "a.ckpt"))
    assert not loaded.training
    assert torch.equal(loaded(noise(5, 2)), backbone(noise(5, 2)))
    assert (loaded.dim, loaded.size) == (3, None)


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (64, 3)])
def test_a_vision_backbone_is_rebuilt_from_its_run_with_its_attributes(size, channels, tmp_path):
    constants = {"mean": [0.5] * channels, "std": [0.25] * channels}
    backbone = randomise(vision(name="resnet18", size=size, channels=channels, **constants)).eval()
    (tmp_path / "checkpoints").mkdir()
    save(backbone, tmp_path / "checkpoints" / "last.ckpt")
    loaded = load_backbone(tmp_path)
    x = noise(2, channels, size, size)
    assert torch.equal(loaded(loaded.normalise(x)), backbone(backbone.normalise(x)))
    assert (loaded.size, loaded.channels, loaded.dim) == (size, channels, 512)
    assert (list(loaded.mean), list(loaded.std)) == (constants["mean"], constants["std"])
    assert not any(module.training for module in loaded.modules())
    assert loaded.description == backbone.description


def test_a_backbone_that_started_from_pretrained_weights_is_rebuilt_with_their_stem(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # torchvision's download folder
    downloaded = tmp_path / "hub" / "checkpoints" / Path(models.ResNet18_Weights.DEFAULT.url).name
    downloaded.parent.mkdir(parents=True)
    torch.save(models.resnet18().state_dict(), downloaded)
    backbone = vision(name="resnet18", size=32, weights="imagenet", channels=1, mean=[0.5], std=[0.5])
    assert backbone.body.conv1.kernel_size == (7, 7)
    randomise(backbone).eval()
    path = save(backbone, tmp_path / "a.ckpt")
    downloaded.unlink()  # loading must not need them
    loaded = load_backbone(path)
    assert torch.equal(loaded(noise(2, 1, 32, 32)), backbone(noise(2, 1, 32, 32)))
    assert loaded.description == backbone.description


def test_checkpoints_are_readable_with_weights_only(tmp_path):
    path = save(mlp(channels=2, hidden=[4], dim=1), tmp_path / "a.ckpt")
    checkpoint, found = read_checkpoint(path)  # reads with weights_only=True
    assert found == path
    assert checkpoint["fewlabels"]["backbone"] == {
        "builder": "fewlabels.core.backbones:mlp",
        "channels": 2,
        "hidden": [4],
        "dim": 1,
    }


@pytest.mark.parametrize("other", [{"hidden": [4, 4]}, {"hidden": []}, {"hidden": [5]}], ids=["more", "fewer", "wider"])
def test_weights_of_another_backbone_are_rejected(other, tmp_path):
    checkpoint, path = read_checkpoint(save(mlp(channels=2, hidden=[4], dim=1), tmp_path / "a.ckpt"))
    backbone = mlp(channels=2, dim=1, **other)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with pytest.raises(UserError, match=r"holds another backbone.*missing, unexpected or of another shape.*body\."):
        load_backbone_weights(backbone, checkpoint, path)
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())


def test_a_missing_weight_is_named(tmp_path):
    backbone = mlp(channels=2, hidden=[4], dim=1)
    weights = {f"backbone.{name}": value for name, value in backbone.state_dict().items() if name != "body.2.bias"}
    with pytest.raises(UserError, match=r"1 of 4 weights.*body\.2\.bias"):
        load_backbone(save(backbone, tmp_path / "a.ckpt", state_dict=weights))


def test_missing_damaged_and_foreign_files_are_rejected(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*checkpoints/last\.ckpt"):
        load_backbone(tmp_path)
    with pytest.raises(UserError, match="there is no file"):
        load_backbone(tmp_path / "gone.ckpt")
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    with pytest.raises(UserError, match=r"is no checkpoint, or is damaged: .* Give an intact one"):
        load_backbone(tmp_path / "text.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(UserError, match="not written by this project"):
        load_backbone(tmp_path / "foreign.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(UserError, match="not written by this project"):
        load_backbone(tmp_path / "list.ckpt")


def test_a_damaged_checkpoint_lists_the_others_in_its_folder(tmp_path):
    save(mlp(channels=2, hidden=[4], dim=1), tmp_path / "best.ckpt")
    (tmp_path / "last.ckpt").write_bytes((tmp_path / "best.ckpt").read_bytes()[:500])
    with pytest.raises(UserError, match=r"is damaged: .* In the same folder: best\.ckpt"):
        read_checkpoint(tmp_path / "last.ckpt")


@pytest.mark.parametrize(
    ("builder", "message"),
    [("os:system", "which is not part of this project"), ("fewlabels.core.checkpoints:digest", "does not build a bac")],
)
def test_a_checkpoint_cannot_call_other_functions(builder, message, tmp_path):
    path = save(mlp(channels=2, hidden=[4], dim=1), tmp_path / "a.ckpt", fewlabels={"backbone": {"builder": builder}})
    with pytest.raises(UserError, match=message):
        load_backbone(path)


def test_digest_is_the_sha256_of_the_file(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # a test vector of FIPS 180-4
    assert digest(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_finetuning_starts_from_the_pretrained_weights(tmp_path):
    pretrained, backbone = randomise(mlp(channels=2, hidden=[4], dim=1)), mlp(channels=2, hidden=[4], dim=1)
    init_from_checkpoint(backbone, *read_checkpoint(save(pretrained, tmp_path / "a.ckpt")))
    assert torch.equal(backbone(noise(5, 2)), pretrained(noise(5, 2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "resnet34"}, r"its name is resnet18, .* is resnet34\. Give the same backbone\.name"),
        ({"channels": 1, "mean": [0.5], "std": [0.5]}, r"its channels is 3, .* is 1\. Give the same data\.channels"),
        ({"size": 32}, r"its stem is False, .* is True\. Give the same data\.size"),
        ({"mean": [0.5] * 3}, r"its mean is .* Give the same data\.mean"),
        ({"std": [0.5] * 3}, r"its std is .* Give the same data\.std"),
    ],
)
def test_finetuning_from_another_network_is_rejected(change, message, tmp_path):
    description = {"name": "resnet18", "channels": 3, "size": 64, "stem": False, "mean": [0.4] * 3, "std": [0.2] * 3}
    backbone = mlp(channels=2, hidden=[4], dim=1)
    path = save(backbone, tmp_path / "a.ckpt", fewlabels={"backbone": description})
    backbone.description = description | change | ({"stem": True} if "size" in change else {})
    with pytest.raises(UserError, match=message):
        init_from_checkpoint(backbone, *read_checkpoint(path))


@pytest.mark.parametrize("finished", [True, False])
def test_starting_from_an_unfinished_run_is_logged(finished, tmp_path, caplog):
    backbone = mlp(channels=2, hidden=[4], dim=1)
    (tmp_path / "checkpoints").mkdir()
    save(backbone, tmp_path / "checkpoints" / "last.ckpt")
    for name in ("config.yaml", "results.json") if finished else ("config.yaml",):
        (tmp_path / name).write_text("{}")
    with caplog.at_level(logging.WARNING):
        init_from_checkpoint(backbone, *read_checkpoint(tmp_path))
    assert (f"has not finished; to finish it first: resume={tmp_path}" in caplog.text) != finished
