"""Export a backbone in a form that other programs load: timm's, ONNX or TorchScript.

Each export is loaded again, and compared with the backbone, before it gets its final name.
"""

import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewlabels.core.atomic_io import atomic_folder
from fewlabels.core.backbones.backbone import Backbone
from fewlabels.core.backbones.export_formats import FORMATS, Embedder, other_format
from fewlabels.core.errors import UserError

log = logging.getLogger(__name__)
TOLERANCE = 1e-4
"""Largest difference of an exported embedding, as a fraction of the largest absolute value among the embeddings."""
BATCH_SIZES = (1, 3)
"""Of the inputs that are compared; the example that a graph is made from is a batch of 2."""
RESIZES = {
    "pad": "the longer side becomes size, the rest is filled with the median colour of the border",
    "crop": "the shorter side becomes size, then the central square",
    "squash": "both sides become size, whatever the aspect ratio",
}
"""What the values of data.resize mean; see `data.image_store.decode.decode`."""


def check_format(file_format: str | None) -> None:
    """Check that a format exists, and that the packages that it needs are installed.

    Raises:
        UserError: One of them is not so.
    """
    if file_format not in FORMATS:
        raise UserError(f"format={'null' if file_format is None else file_format}: choose one of {', '.join(FORMATS)}.")
    needed = ("onnx", "onnxscript", "onnxruntime") if file_format == "onnx" else ()
    if missing := [package for package in needed if find_spec(package) is None]:
        raise UserError(
            f"format=onnx needs packages that are not installed: {', '.join(missing)}. Install them: "
            "pip install '.[export]'"
        )


def export_backbone(backbone: Backbone, file_format: str, directory: Path, resize: str | None = None) -> Path:
    """Write a backbone and check what was written by loading it: embeddings of random inputs, in batches of 1 and of 3.

    Args:
        backbone: On the CPU, in eval mode.
        file_format: timm (model.safetensors and config.json), onnx (backbone.onnx) or torchscript (backbone.pt). The
            last two take uint8 images, and come with preprocessing.json: how an image becomes their input.
        directory: Where to write.
        resize: How images were resized, one of `RESIZES`; None for points, or if it is unknown.

    Returns:
        The folder `directory / file_format`, which has this name only once it is complete.

    Raises:
        UserError: As `check_format`; the folder exists; the format cannot hold this network; embeddings are not finite,
            or differ by more than `TOLERANCE`.
    """
    check_format(file_format)
    folder = directory / file_format
    if folder.exists():
        raise UserError(f"{folder} exists already. Choose another directory: hydra.run.dir=DIRECTORY.")
    embedder, settings = Embedder(backbone).eval(), preprocessing(backbone, resize)
    with atomic_folder(folder) as temporary:
        exported = FORMATS[file_format](embedder, temporary, settings)
        for count in BATCH_SIZES:
            x = embedder.inputs(count)
            with torch.no_grad():
                compare(_run(exported, x, file_format), embedder(x), file_format)
    lines = "\n".join(usage(settings, file_format, folder))
    log.info("The network is in %s, checked by loading it. To embed with it:\n\n%s\n", folder, lines)
    return folder


def preprocessing(backbone: Backbone, resize: str | None) -> dict[str, Any]:
    """How an image becomes the input of an `Embedder`: the content of preprocessing.json."""
    output = {"output": "embeddings", "dim": backbone.dim}
    if backbone.size is None:
        return {"input": "points", "dtype": "float32", "layout": "NC", "channels": backbone.channels} | output
    return {
        "input": "images", "dtype": "uint8", "layout": "NCHW", "channels": backbone.channels, "size": backbone.size,
        "colours": {1: "grey", 3: "RGB"}.get(backbone.channels, f"{backbone.channels} channels"),
        "resize": resize, "resizing": RESIZES.get(str(resize), "unknown"), "interpolation": "bilinear",
        "mean": list(backbone.mean), "std": list(backbone.std),
        "normalisation": "inside the network: (images / 255 - mean) / std",
    } | output  # fmt: skip


def _run(exported: Callable[[Tensor], Tensor], x: Tensor, file_format: str) -> Tensor:
    try:
        return exported(x)
    except Exception as error:  # each runtime has its own
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"format={file_format}: the exported network does not take a batch of {len(x)} ({first}), so nothing was "
            f"written. {other_format(file_format)}"
        ) from error


def compare(found: Tensor, expected: Tensor, file_format: str) -> None:
    """Compare embeddings [N, dim] of an export with those of its backbone.

    Raises:
        UserError: They differ by more than `TOLERANCE`, or are not finite.
    """
    if not expected.isfinite().all():
        raise UserError("run: embeddings of this network are not finite, since its training diverged. Give another.")
    scale = expected.abs().max().item()
    difference = (found - expected).abs().max().item() if found.shape == expected.shape else float("inf")
    if not difference <= TOLERANCE * scale:  # also if it is not a number
        raise UserError(
            f"format={file_format}: embeddings of the exported network differ from the backbone's by {difference:.1e}, "
            f"where the largest is {scale:.1e}, so nothing was written. {other_format(file_format)}"
        )


def usage(settings: dict[str, Any], file_format: str, folder: Path) -> list[str]:
    """Three lines of Python that embed a batch with an export in `folder`; `settings` are of `preprocessing`."""
    kind, channels = settings["input"], settings["channels"]
    sizes = f"[N, {channels}]" if kind == "points" else f"[N, {channels}, {settings['size']}, {settings['size']}]"
    given = f"# {kind}: {settings['dtype']} {sizes}, see preprocessing.json"
    file = str(folder / {"onnx": "backbone.onnx", "torchscript": "backbone.pt"}.get(file_format, ""))
    return {
        "timm": [
            "import timm",
            f"network = timm.create_model({'local-dir:' + file!r}, pretrained=True).eval()",
            f"embeddings = network(images)  # images: float32 {sizes}, normalised as in config.json",
        ],
        "onnx": [
            "import onnxruntime",
            f"session = onnxruntime.InferenceSession({file!r})",
            f"embeddings = session.run(None, {{{kind!r}: {kind}}})[0]  {given}",
        ],
        "torchscript": [
            "import torch", f"network = torch.jit.load({file!r})", f"embeddings = network({kind})  {given}",
        ],
    }[file_format]  # fmt: skip
