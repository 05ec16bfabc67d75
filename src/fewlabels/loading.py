"""Reading checkpoints back: the backbone of a run as a plain network."""

import importlib
import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fewlabels.backbones import Backbone
from fewlabels.errors import UserError

log = logging.getLogger(__name__)


def load_backbone(run_or_checkpoint: str | Path) -> Backbone:
    """The pretrained backbone of a run, as a plain `torch.nn.Module` in eval mode.

    Args:
        run_or_checkpoint: A run directory (its `checkpoints/last.ckpt` is read) or a checkpoint file.

    Returns:
        A `Backbone` with `dim` (size of the embedding), `size`, `channels`, `mean` and `std` as attributes.

    Raises:
        UserError: There is no such file, it is no checkpoint of this project, or its weights do not fit.
    """
    checkpoint, path = read_checkpoint(run_or_checkpoint)
    description = dict(checkpoint["fewlabels"]["backbone"])
    module, _, builder = description.pop("builder").partition(":")
    if not module.startswith("fewlabels."):  # a checkpoint may come from a stranger, and names what is called
        raise UserError(f"checkpoint={path} asks for {module}, which is not part of this project.")
    build: Any = getattr(importlib.import_module(module), builder, None)
    if getattr(build, "__annotations__", {}).get("return") is not Backbone:
        raise UserError(f"checkpoint={path} names {module}:{builder}, which does not build a backbone.")
    backbone: Backbone = build(**description)
    load_weights(backbone, checkpoint, path)
    return backbone.eval()


def read_checkpoint(run_or_checkpoint: str | Path) -> tuple[dict[str, Any], Path]:
    """Read a checkpoint (or a run's last one) on the CPU, and say where it was found.

    Raises:
        UserError: Nothing there, or nothing of ours in it.
    """
    path = Path(run_or_checkpoint)
    path = path / "checkpoints" / "last.ckpt" if path.is_dir() else path
    if not path.is_file():
        raise UserError(
            f"checkpoint={run_or_checkpoint}: there is no file {path}. Give a run directory or a .ckpt file."
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0].partition(" (1) ")[0]
        others = sorted(other.name for other in path.parent.glob("*.ckpt") if other != path)
        beside = f" Beside it: {', '.join(others)}." if others else ""
        raise UserError(f"{path} is no checkpoint, or is damaged: {first}{beside} Give a whole one.") from error
    if not isinstance(checkpoint, dict) or "fewlabels" not in checkpoint:
        raise UserError(f"checkpoint={path} was not written by this project: it says nothing of its backbone.")
    return checkpoint, path


def begin_with(backbone: Backbone, checkpoint: dict[str, Any], path: Path) -> None:
    """Give a backbone the weights of a pretrained one, as `read_checkpoint` found it, for finetuning.

    Raises:
        UserError: The pretrained network is another one, or was fed other images.
    """
    theirs, ours = checkpoint["fewlabels"]["backbone"], backbone.description
    keys = {"builder": "backbone", "name": "backbone.name", "channels": "data.channels", "stem": "data.size"}
    for key, setting in (keys | {"mean": "data.mean", "std": "data.std"}).items():
        if theirs.get(key) != ours.get(key):
            raise UserError(
                f"checkpoint={path}: its {key} is {theirs.get(key)}, and this network's is {ours.get(key)}. Give the "
                f"same {setting} as that run."
            )
    load_weights(backbone, checkpoint, path)
    run = path.parent.parent
    if (run / "config.yaml").is_file() and not (run / "results.json").is_file():
        log.warning("checkpoint=%s: that run has not ended; go on with it first, with resume=%s.", path, run)


def check_split(checkpoint: dict[str, Any], path: Path, data: dict[str, Any], images: str | None) -> None:
    """See that pretraining was not shown what is now to be tested; say so if it was shown other images.

    Args:
        checkpoint: The pretrained network.
        path: Its file.
        data: What it is to be finetuned on, as configured.
        images: Their fingerprint.

    Raises:
        UserError: It is the same set, of which pretraining kept fewer images for the test.
    """
    described = checkpoint["fewlabels"]
    if described.get("images") != images:
        log.info("%s was pretrained on other images (%s) than these (%s).", path, described.get("images"), images)
        return
    theirs, ours = described["config"]["data"].get("test_fraction"), data.get("test_fraction")
    if theirs is not None and ours is not None and theirs < ours:
        raise UserError(
            f"data.test_fraction={ours}: checkpoint={path} was pretrained on the same images with {theirs}, so it has "
            f"seen some that would be tested. Give data.test_fraction={theirs}."
        )


def load_weights(backbone: nn.Module, checkpoint: dict[str, Any], path: Path) -> None:
    """Copy the backbone's weights out of a method's checkpoint; every one must be there and fit.

    Raises:
        UserError: Weights are missing, left over, or of another shape.
    """
    prefix = "backbone."
    found = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    wanted = backbone.state_dict()
    wrong = sorted(wanted.keys() ^ found.keys())
    wrong += [k for k in wanted.keys() & found.keys() if wanted[k].shape != found[k].shape]
    if wrong:
        trained = checkpoint["fewlabels"]["backbone"]
        raise UserError(
            f"checkpoint={path} holds another backbone: {trained}. {len(wrong)} of {len(wanted)} weights are "
            f"missing, left over or of another shape, such as {wrong[0]}. Choose the same backbone, data.channels "
            "and data.size as that run."
        )
    backbone.load_state_dict(found)
