"""Reading checkpoints: backbones as plain networks, initial weights, and upgrades from earlier versions."""

import hashlib
import importlib
import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fewlabels.core.backbones import Backbone
from fewlabels.core.errors import UserError

log = logging.getLogger(__name__)

RENAMED_TARGETS = {
    "fewlabels.backbones": "fewlabels.core.backbones",
    "fewlabels.optim.Recipe": "fewlabels.core.optim.OptimizerConfig",
    "fewlabels.views.RandomViews": "fewlabels.methods.views.RandomViews",
    "fewlabels.callbacks.checkpoints.LastCheckpoint": "fewlabels.callbacks.checkpointing.LastCheckpoint",
    "fewlabels.callbacks.probes.OnlineProbes": "fewlabels.callbacks.online_probes.OnlineProbes",
    "fewlabels.callbacks.speed.Speed": "fewlabels.callbacks.throughput.Throughput",
    "fewlabels.callbacks.signals.SaveOnSignal": "fewlabels.callbacks.save_on_signal.SaveOnSignal",
    "fewlabels.callbacks.views.ViewsFigure": "fewlabels.callbacks.preview_views.PreviewViews",
    "fewlabels.callbacks.space.SpaceFigures": "fewlabels.callbacks.embedding_plots.EmbeddingPlots",
    "fewlabels.callbacks.health.HealthMonitor": "fewlabels.callbacks.representation_quality.RepresentationQuality",
    "fewlabels.callbacks.spirals.SpiralFigures": "fewlabels.callbacks.spiral_plots.SpiralPlots",
    "fewlabels.callbacks.predictions.Predictions": "fewlabels.callbacks.predictions.SavePredictions",
    "fewlabels.loggers.wandb_logger": "fewlabels.training.wandb_runs.wandb_logger",
}
"""Modules and classes of version 0.1 to those of this version."""
IMAGE_DEFAULTS = {
    "labels": None, "class_level": None, "unlabelled": [], "white": None, "crop_edges": [0, 0, 0, 0], "pages": "first",
}  # fmt: skip
"""Settings of images that earlier versions did not have, so that they can be overridden in an evaluation."""
RENAMED_KEYS = {
    "method": {"called": "name", "accepts": "modalities"},
    "data": {"called": "name", "kind": "modality"},
    "callbacks": {"views": "preview_views", "space": "embedding_plots", "health": "representation_quality",
                  "spirals": "spiral_plots", "speed": "throughput", "signals": "save_on_signal"},
}  # fmt: skip
"""Keys of version 0.1 to those of this version, by config group."""
RENAMED_CALLBACKS = {"Speed": "Throughput", "ViewsFigure": "PreviewViews"}
"""Callbacks of version 0.1 that have a state in checkpoints."""


def load_backbone(run_or_checkpoint: str | Path) -> Backbone:
    """Load the trained backbone of a run as a plain `torch.nn.Module` in eval mode.

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
    if not module.startswith("fewlabels."):  # a checkpoint may be untrusted, and the builder is called
        raise UserError(
            f"checkpoint={path}: its backbone is built by {module}, which is not part of this project. Give a "
            "checkpoint that this project wrote."
        )
    build: Any = getattr(importlib.import_module(module), builder, None)
    if getattr(build, "__annotations__", {}).get("return") is not Backbone:
        raise UserError(
            f"checkpoint={path}: {module}:{builder} does not build a backbone. Give a checkpoint that this project "
            "wrote."
        )
    backbone: Backbone = build(**description)
    load_backbone_weights(backbone, checkpoint, path)
    return backbone.eval()


def checkpoint_file(run_or_checkpoint: str | Path) -> Path:
    """The last checkpoint of a run directory, or the checkpoint file itself.

    Raises:
        UserError: There is no such file.
    """
    path = Path(run_or_checkpoint)
    path = path / "checkpoints" / "last.ckpt" if path.is_dir() else path
    if not path.is_file():
        raise UserError(
            f"checkpoint={run_or_checkpoint}: there is no file {path}. Give a run directory or a .ckpt file."
        )
    return path


def read_checkpoint(run_or_checkpoint: str | Path) -> tuple[dict[str, Any], Path]:
    """Read a checkpoint, or a run's last one, onto the CPU; return it and its file.

    Raises:
        UserError: There is no such file, or it is no checkpoint of this project.
    """
    path = checkpoint_file(run_or_checkpoint)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0].partition(" (1) ")[0]
        others = sorted(other.name for other in path.parent.glob("*.ckpt") if other != path)
        hint = f" In the same folder: {', '.join(others)}." if others else ""
        raise UserError(f"{path} is no checkpoint, or is damaged: {first}{hint} Give an intact one.") from error
    if not isinstance(checkpoint, dict) or "fewlabels" not in checkpoint:
        raise UserError(
            f"checkpoint={path} was not written by this project: it does not describe its backbone. Give a run "
            "directory or one of its checkpoints."
        )
    return upgrade_checkpoint(checkpoint), path


def digest(file: Path) -> str:
    """SHA-256 of a file, in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def init_from_checkpoint(backbone: Backbone, checkpoint: dict[str, Any], path: Path) -> None:
    """Initialise a backbone with the weights of a pretrained one, for finetuning.

    Args:
        backbone: To be initialised, in place.
        checkpoint: As `read_checkpoint` returned it.
        path: Its file.

    Raises:
        UserError: The pretrained network has another architecture, or another input.
    """
    theirs, ours = checkpoint["fewlabels"]["backbone"], backbone.description
    keys = {"builder": "backbone", "name": "backbone.name", "channels": "data.channels", "stem": "data.size"}
    for key, setting in (keys | {"mean": "data.mean", "std": "data.std"}).items():
        if theirs.get(key) != ours.get(key):
            raise UserError(
                f"checkpoint={path}: its {key} is {theirs.get(key)}, and this network's is {ours.get(key)}. Give the "
                f"same {setting} as that run."
            )
    load_backbone_weights(backbone, checkpoint, path)
    run = path.parent.parent
    if (run / "config.yaml").is_file() and not (run / "results.json").is_file():
        log.warning("checkpoint=%s: that run has not finished; to finish it first: resume=%s.", path, run)


def load_backbone_weights(backbone: nn.Module, checkpoint: dict[str, Any], path: Path) -> None:
    """Copy the backbone's weights out of a method's checkpoint; all must be present and fit.

    Raises:
        UserError: Weights are missing, unexpected, or of another shape.
    """
    prefix = "backbone."
    stored = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    expected = backbone.state_dict()
    wrong = sorted(expected.keys() ^ stored.keys())
    wrong += sorted(k for k in expected.keys() & stored.keys() if expected[k].shape != stored[k].shape)
    if wrong:
        trained = checkpoint["fewlabels"]["backbone"]
        raise UserError(
            f"checkpoint={path} holds another backbone: {trained}. {len(wrong)} of {len(expected)} weights are "
            f"missing, unexpected or of another shape, such as {wrong[0]}. Choose the same backbone, data.channels "
            "and data.size as that run."
        )
    backbone.load_state_dict(stored)


def upgrade_checkpoint(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Rename targets, keys and callbacks of version 0.1 in a checkpoint; others are returned unchanged, as a copy."""
    if "fewlabels" in checkpoint:
        described = dict(checkpoint["fewlabels"])
        described["backbone"] = _renamed_targets(described.get("backbone", {}))
        described["config"] = upgrade_config(described.get("config") or {})
        checkpoint = checkpoint | {"fewlabels": described}
    if callbacks := checkpoint.get("callbacks"):
        renamed = {RENAMED_CALLBACKS.get(name, name): state for name, state in callbacks.items()}
        checkpoint = checkpoint | {"callbacks": renamed}
    return checkpoint


def upgrade_config(config: dict[str, Any]) -> dict[str, Any]:
    """Rename keys and targets of version 0.1 in a run's configuration; others are returned unchanged, as a copy."""
    upgraded = _renamed_targets(config)
    for group, names in RENAMED_KEYS.items():
        if isinstance(node := upgraded.get(group), dict):
            upgraded[group] = {names.get(key, key): value for key, value in node.items()}
    if _node(config, "method", "optimizer").get("_target_") == "fewlabels.optim.Recipe":
        upgraded["method"]["optimizer"].setdefault("warmup_epochs", 0)  # 0.1 listed it only if it was not 0
    if _node(upgraded, "backbone").get("weights"):
        upgraded["backbone"].setdefault("frozen_norms", False)
    if "siamese" in (data := _node(upgraded, "data")):
        data["epochs"] = data.pop("siamese")["epochs"]
    if data.get("modality") == "images":
        upgraded["data"] = data = IMAGE_DEFAULTS | data
        if "split_by" not in data:
            data |= {"split_by": "path", "split_seed": data.get("seed", 0)}  # the splits that the run was trained with
    _node(upgraded, "logger").pop("csv", None)  # metrics.csv is always written
    return upgraded


def _node(config: dict[str, Any], *keys: str) -> dict[str, Any]:
    """A mapping inside nested mappings; an empty one if there is none."""
    for key in keys:
        value = config.get(key)
        config = value if isinstance(value, dict) else {}
    return config


def _renamed_targets(node: Any) -> Any:
    """Replace the targets of version 0.1 in nested containers, which are copied."""
    if isinstance(node, dict):
        return {key: _renamed_targets(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_renamed_targets(value) for value in node]
    if isinstance(node, str) and node.startswith("fewlabels."):
        for old, new in RENAMED_TARGETS.items():
            if node == old or node.startswith((f"{old}.", f"{old}:")):
                return new + node.removeprefix(old)
    return node
