"""The formats of `export`: how a backbone is written in each, and read back."""

import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewlabels.core.backbones.backbone import Backbone
from fewlabels.core.errors import UserError

CROP_MODES = {"pad": "border", "crop": "center", "squash": "squash"}
"""What timm calls the values of data.resize; it fills the border with the mean colour of the dataset."""


class Embedder(nn.Module):
    """A backbone that normalises its input itself: uint8 [N, C, size, size], or points [N, C], to float32 [N, dim]."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        """Embed images with values from 0 to 255, or points."""
        return self.backbone(self.backbone.normalise(x))

    def inputs(self, count: int) -> Tensor:
        """Random images or points, the same for the same `count`."""
        generator, backbone = torch.Generator().manual_seed(count), self.backbone
        if backbone.size is None:
            return torch.randn((count, backbone.channels), generator=generator)
        shape = (count, backbone.channels, backbone.size, backbone.size)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def other_format(file_format: str) -> str:
    """The advice to choose another format."""
    return "Use format=torchscript." if file_format == "onnx" else "Use format=onnx, which takes other networks too."


def _timm(embedder: Embedder, folder: Path, settings: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    """By timm's own writer, from timm's model of the same name, which must have the same weights."""
    import timm
    from timm.models import save_for_hf

    backbone = embedder.backbone
    if backbone.size is None:
        raise UserError("format=timm holds networks of images, and this one embeds points. Use format=onnx.")
    name = str(backbone.description.get("name", type(backbone.body).__name__)).partition(".")[0]
    if not timm.is_model(name):
        raise UserError(f"format=timm: timm has no model called {name}. {other_format('timm')}")
    logging.getLogger("timm").setLevel(logging.WARNING)
    arguments: dict[str, Any] = {"in_chans": backbone.channels}
    if timm.get_pretrained_cfg(name).fixed_input_size:  # type: ignore[union-attr]
        arguments["img_size"] = backbone.size
    model = timm.create_model(
        name, num_classes=0, pretrained_cfg_overlay=_described_to_timm(backbone, settings["resize"]), **arguments
    )
    ours, theirs = backbone.body.state_dict(), model.state_dict()
    wrong = sorted(ours.keys() ^ theirs.keys())
    wrong += sorted(key for key in ours.keys() & theirs.keys() if ours[key].shape != theirs[key].shape)
    if wrong:
        here, there = (list(state[wrong[0]].shape) if wrong[0] in state else "none" for state in (ours, theirs))
        raise UserError(
            f"format=timm: {len(wrong)} weights of this {name} do not fit timm's {name}, such as "
            f"{wrong[0]}: {here} here, {there} there. {other_format('timm')}"
        )
    model.load_state_dict(ours)
    save_for_hf(model, str(folder), model_args=arguments, safe_serialization=True)
    loaded = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    return lambda x: loaded(backbone.normalise(x))


def _described_to_timm(backbone: Backbone, resize: str | None) -> dict[str, Any]:
    """The entries of timm's `pretrained_cfg` that describe the input; None leaves one out."""
    return {
        "input_size": (backbone.channels, backbone.size, backbone.size), "mean": backbone.mean, "std": backbone.std,
        "interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": CROP_MODES.get(str(resize)),
        "tag": "fewlabels",  # instead of that of timm's weights
        "test_input_size": None, "test_crop_pct": None, "min_input_size": None, "pool_size": None,
    }  # fmt: skip


def _onnx(embedder: Embedder, folder: Path, settings: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    """By torch's exporter, with a batch of any size; `settings` are in the file's metadata_props, as JSON."""
    import onnxruntime

    for name in ("onnxscript", "onnx_ir", "torch.onnx"):  # every rewritten node is logged
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        program: Any = torch.onnx.export(
            embedder, (embedder.inputs(2),), dynamo=True, verbose=False, input_names=[settings["input"]],
            output_names=[settings["output"]], dynamic_shapes=({0: torch.export.Dim("batch")},),
        )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        raise _not_exported("onnx", error) from error
    program.model.metadata_props.update({key: json.dumps(value) for key, value in settings.items()})
    program.save(folder / "backbone.onnx")  # above 2 GB with a second file for the weights
    _write_preprocessing(folder, settings)
    session = onnxruntime.InferenceSession(str(folder / "backbone.onnx"), providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {settings["input"]: x.numpy()})[0])


def _torchscript(embedder: Embedder, folder: Path, settings: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    """By torch.jit.trace: deprecated, but torch.export's .pt2 is read by Python alone, and TorchScript by libtorch."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit", FutureWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # what is traced is compared after loading
        try:
            traced: Any = torch.jit.trace(embedder, embedder.inputs(2), check_trace=False)
        except RuntimeError as error:
            raise _not_exported("torchscript", error) from error
        traced.save(str(folder / "backbone.pt"))
        _write_preprocessing(folder, settings)
        loaded: Callable[[Tensor], Tensor] = torch.jit.load(str(folder / "backbone.pt"))
    return loaded


def _write_preprocessing(folder: Path, settings: dict[str, Any]) -> None:
    (folder / "preprocessing.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _not_exported(file_format: str, error: Exception) -> UserError:
    first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return UserError(f"format={file_format}: torch cannot export this network ({first}). {other_format(file_format)}")


FORMATS: dict[str, Callable[[Embedder, Path, dict[str, Any]], Callable[[Tensor], Tensor]]] = {
    "timm": _timm, "onnx": _onnx, "torchscript": _torchscript,
}  # fmt: skip
"""Each writes into a folder, and returns what it reads back: a function of the same inputs as the embedder."""
