"""Exports, loaded by the libraries that they are for, and compared with the backbone."""

import json
import logging
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from torch import nn

from fewlabels.core.backbones import Backbone, export, mlp, timm_model, vision
from fewlabels.core.backbones.export import RESIZES, TOLERANCE, check_format, compare, export_backbone
from fewlabels.core.backbones.export_formats import CROP_MODES, Embedder
from fewlabels.core.errors import UserError
from fewlabels.data.image_store import decode
from tiny_network import tiny_network

GREY = {"channels": 1, "size": 32, "mean": [0.4], "std": [0.3]}
RGB = {"channels": 3, "size": 48, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}
TIMM = [("test_efficientnet", GREY), ("test_vit", RGB), ("test_resnet", RGB)]


def images(count, backbone):
    shape = (count, backbone.channels, backbone.size, backbone.size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(7))


def embeddings(backbone, x):
    """By the definition of normalisation, of images with values from 0 to 255."""
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (backbone.mean, backbone.std))
    with torch.no_grad():
        return backbone((x / 255 - mean) / std)


def load_torchscript(folder):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.load`", FutureWarning)
        return torch.jit.load(str(folder / "backbone.pt"))


def close(found, expected):
    return np.abs(np.asarray(found) - np.asarray(expected)).max() <= TOLERANCE * np.abs(np.asarray(expected)).max()


@pytest.mark.parametrize(("name", "data"), TIMM)
def test_onnx_takes_uint8_images_in_batches_of_any_size(tmp_path, name, data):
    backbone = timm_model(name=name, **data).eval()
    folder = export_backbone(backbone, "onnx", tmp_path, "pad")
    assert sorted(path.name for path in folder.iterdir()) == ["backbone.onnx", "preprocessing.json"]
    session = onnxruntime.InferenceSession(str(folder / "backbone.onnx"))
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == (
        "images",
        "tensor(uint8)",
        ["batch", *images(1, backbone).shape[1:]],
    )
    assert (made.name, made.type, made.shape) == ("embeddings", "tensor(float)", ["batch", backbone.dim])
    for count in (1, 2, 5):
        x = images(count, backbone)
        assert close(session.run(None, {"images": x.numpy()})[0], embeddings(backbone, x))


def test_every_way_to_resize_is_explained():
    assert set(RESIZES) == set(CROP_MODES) == set(decode.RESIZES)


def test_onnx_and_a_json_file_say_how_images_are_prepared(tmp_path):
    backbone = tiny_network(**RGB).eval()
    folder = export_backbone(backbone, "onnx", tmp_path, "squash")
    settings = json.loads((folder / "preprocessing.json").read_text())
    assert settings == {
        "input": "images", "dtype": "uint8", "layout": "NCHW", "channels": 3, "size": 48, "colours": "RGB",
        "resize": "squash", "resizing": "both sides become size, whatever the aspect ratio",
        "interpolation": "bilinear",
        "mean": RGB["mean"], "std": RGB["std"], "normalisation": "inside the network: (images / 255 - mean) / std",
        "output": "embeddings", "dim": backbone.dim,
    }  # fmt: skip
    stored = {entry.key: json.loads(entry.value) for entry in onnx.load(folder / "backbone.onnx").metadata_props}
    assert {key: stored[key] for key in settings} == settings


@pytest.mark.parametrize(("name", "data"), TIMM)
def test_torchscript_takes_uint8_images_in_batches_of_any_size(tmp_path, name, data):
    backbone = timm_model(name=name, **data).eval()
    folder = export_backbone(backbone, "torchscript", tmp_path, "crop")
    assert json.loads((folder / "preprocessing.json").read_text())["resize"] == "crop"
    loaded = load_torchscript(folder)
    for count in (1, 2, 5):
        x = images(count, backbone)
        assert close(loaded(x).detach(), embeddings(backbone, x))


@pytest.mark.parametrize(
    "backbone",
    [
        *(pytest.param(timm_model(name=name, **data), id=name) for name, data in TIMM),
        pytest.param(vision(name="resnet18", **RGB | {"size": 64}), id="torchvision's resnet18"),
        pytest.param(vision(name="resnet18", **GREY | {"size": 64}), id="torchvision's resnet18 for greyscale"),
    ],
)
def test_timm_loads_its_own_models_and_torchvisions_resnets(tmp_path, backbone):
    backbone.eval()
    folder = export_backbone(backbone, "timm", tmp_path, "pad")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    loaded = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    x = images(4, backbone)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (backbone.mean, backbone.std))
    with torch.no_grad():
        assert close(loaded((x / 255 - mean) / std), embeddings(backbone, x))
    config = json.loads((folder / "config.json").read_text())
    assert (config["num_classes"], config["pretrained_cfg"]["num_classes"]) == (0, 0)
    assert config["pretrained_cfg"]["tag"] == "fewlabels"
    described = timm.data.resolve_model_data_config(loaded)
    assert tuple(described["input_size"]) == tuple(x.shape[1:])
    assert (tuple(described["mean"]), tuple(described["std"])) == (backbone.mean, backbone.std)
    assert (described["crop_pct"], described["crop_mode"], described["interpolation"]) == (1.0, "border", "bilinear")


@pytest.mark.parametrize(("backbone", "message"), [
    (vision(name="resnet18", **GREY), r"1 weights of this resnet18 do not fit timm's resnet18, such as "
     r"conv1.weight: \[64, 1, 3, 3\] here, \[64, 1, 7, 7\] there. Use format=onnx"),
    (vision(name="mobilenet_v3_small", **GREY), r"timm has no model called mobilenet_v3_small. Use format=onnx"),
    (tiny_network(**GREY), r"timm has no model called Sequential. Use format=onnx"),
    (mlp(channels=2, hidden=[4], dim=1), r"format=timm holds networks of images, and this one embeds points"),
])  # fmt: skip
def test_what_timm_cannot_load_is_refused(tmp_path, backbone, message):
    with pytest.raises(UserError, match=message):
        export_backbone(backbone.eval(), "timm", tmp_path, "pad")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("file_format", ["onnx", "torchscript"])
def test_points_stay_points(tmp_path, file_format):
    backbone = mlp(channels=2, hidden=[8, 8], dim=3).eval()
    folder = export_backbone(backbone, file_format, tmp_path)
    settings = {"input": "points", "dtype": "float32", "layout": "NC", "channels": 2, "output": "embeddings", "dim": 3}
    assert json.loads((folder / "preprocessing.json").read_text()) == settings
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    if file_format == "onnx":
        found = onnxruntime.InferenceSession(str(folder / "backbone.onnx")).run(None, {"points": x.numpy()})[0]
    else:
        found = load_torchscript(folder)(x).detach()
    assert close(found, backbone(x).detach())


@pytest.mark.parametrize("file_format", ["onnx", "timm", "torchscript"])
@pytest.mark.filterwarnings("ignore:`torch.jit.load`:FutureWarning")
def test_the_lines_of_python_in_the_log_embed_images(tmp_path, caplog, file_format):
    backbone = timm_model(name="test_efficientnet", **GREY).eval()
    with caplog.at_level(logging.INFO, "fewlabels"):
        folder = export_backbone(backbone, file_format, tmp_path / "it's", "pad")
    text = caplog.records[-1].getMessage()
    assert text.startswith(f"The network is in {folder}, checked by loading it.")
    lines = text.strip().splitlines()[-3:]
    x = images(3, backbone)
    given = {"onnx": x.numpy(), "timm": backbone.normalise(x), "torchscript": x}[file_format]
    namespace = {"images": given}
    with torch.no_grad():
        exec("\n".join(lines), namespace)
    assert close(namespace["embeddings"], embeddings(backbone, x))


class DependsOnThePixels(nn.Module):
    """Decides by the values of an image."""

    def forward(self, x):
        return x.flatten(1) * (2 if x.sum() > 5 else 3)


def test_a_network_that_onnx_cannot_express_is_refused(tmp_path):
    message = r"format=onnx: torch cannot export this network \(.*\)\. Use format=torchscript\."
    with pytest.raises(UserError, match=message):
        export_backbone(Backbone(DependsOnThePixels(), **GREY).eval(), "onnx", tmp_path, "pad")
    assert not any(tmp_path.iterdir())


class DependsOnTheBatch(nn.Module):
    """Embeds a batch of two otherwise than others: a graph of one example cannot hold this."""

    def forward(self, x):
        return x.flatten(1) * (2 if len(x) == 2 else 3)


@pytest.mark.parametrize(("file_format", "message"), [
    ("onnx", r"format=onnx: the exported network does not take a batch of 1 \(.*nothing was written\. Use"),
    ("torchscript", r"format=torchscript: embeddings of the exported network differ .*nothing was written\. Use"),
])  # fmt: skip
def test_a_network_that_a_graph_does_not_hold_is_refused(tmp_path, file_format, message):
    with pytest.raises(UserError, match=message):
        export_backbone(Backbone(DependsOnTheBatch(), **GREY).eval(), file_format, tmp_path, "pad")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("file_format", ["onnx", "timm", "torchscript"])
def test_an_export_that_differs_gets_no_name(tmp_path, monkeypatch, file_format):
    write = export.FORMATS[file_format]

    def write_other(embedder, folder, settings):
        other = timm_model(name="test_efficientnet", **GREY).eval()
        return write(Embedder(other).eval(), folder, settings)

    monkeypatch.setitem(export.FORMATS, file_format, write_other)
    backbone = timm_model(name="test_efficientnet", **GREY).eval()
    with pytest.raises(UserError, match=rf"format={file_format}: embeddings of the exported network differ"):
        export_backbone(backbone, file_format, tmp_path, "pad")
    assert not any(tmp_path.iterdir())


def test_the_tolerance_is_relative_to_the_largest_embedding():
    expected = torch.tensor([[0.0, -50.0], [1.0, 2.0]])
    compare(expected + 0.9 * 50 * TOLERANCE, expected, "onnx")
    compare(torch.zeros(1, 2), torch.zeros(1, 2), "onnx")
    for found in (expected + 1.1 * 50 * TOLERANCE, expected[:1], expected * float("nan")):
        with pytest.raises(UserError, match=r"differ from the backbone's by .* largest is 5\.0e\+01"):
            compare(found, expected, "onnx")
    with pytest.raises(UserError, match="not finite, since its training diverged"):
        compare(expected, expected / 0, "onnx")


def test_missing_packages_are_named_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None if name.startswith("onnxs") else object())
    with pytest.raises(
        UserError, match=r"format=onnx needs packages .*not installed: onnxscript\. .*pip install '\.\[export\]'"
    ):
        check_format("onnx")
    check_format("timm")
    check_format("torchscript")


@pytest.mark.parametrize("file_format", ["tflite", None, ""])
def test_an_unknown_format_is_refused_with_the_choices(file_format):
    with pytest.raises(UserError, match=rf"format={file_format or '(null|)'}: choose one of timm, onnx, torchscript\."):
        check_format(file_format)


def test_an_export_that_exists_is_kept(tmp_path):
    (tmp_path / "torchscript").mkdir()
    with pytest.raises(UserError, match=r"torchscript exists already. Choose another directory: hydra.run.dir="):
        export_backbone(tiny_network(**GREY).eval(), "torchscript", tmp_path, "pad")
    assert not any((tmp_path / "torchscript").iterdir())
