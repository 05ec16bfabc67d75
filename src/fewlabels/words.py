"""What is said before a run and after it, in plain words."""

import logging
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from fewlabels.methods.base import Method
from fewlabels.methods.rotnet import RotNet
from fewlabels.rundir import script

log = logging.getLogger(__name__)


def announce(config: dict[str, Any], datamodule: Any, method: Method, trainer: Trainer, resume: Path | None) -> None:
    """Say what is about to run."""
    weights = sum(p.numel() for p in method.backbone.parameters())
    size = f"{weights / 1e6:.1f} M" if weights > 1e6 else f"{weights:,}"
    log.info(
        "%s on %s: %s backbone of %s weights, %d epochs, batch %d x %d on %s, %s",
        type(method).__name__, datamodule.name, method.backbone.description.get("name", "mlp"), size,
        trainer.max_epochs, trainer.world_size, datamodule.batch_size, trainer.strategy.root_device.type,
        trainer.precision,
    )  # fmt: skip
    if "checkpoint" in config and not resume:
        log.info(origin(config, method))
    if isinstance(method, RotNet) and datamodule.name == "plankton":
        log.warning("Plankton has no up and no down, so RotNet's question has no answer there; expect little.")
    if resume:
        log.info("Going on from %s", resume)
    elif config["resume"]:
        log.info("Of that run there is no checkpoint to go on from: starting from its first step.")


def origin(config: dict[str, Any], method: Method) -> str:
    """Which parameters a finetuning begins with, and which are fresh."""
    sizes = {name: "×".join(map(str, p.shape)) for name, p in method.named_parameters()}
    head = ", ".join(f"{name} {size}" for name, size in sizes.items() if not name.startswith("backbone."))
    count = sum(name.startswith("backbone.") for name in sizes)
    weights = config["backbone"].get("weights")
    if source := config["checkpoint"] or (weights and f"torchvision's {weights} weights"):
        return f"Loaded from {source}: {count} parameters of the backbone, and its statistics. Fresh: {head}."
    return f"From scratch: {count} parameters of the backbone are fresh, and {head}."


def in_words(results: Mapping[str, float], directory: Path, *, synthetic: bool, longer: bool = True) -> list[str]:
    """Say what came out, and which command comes next.

    Args:
        results: What results.json holds.
        directory: The run directory.
        synthetic: The data were drawn by a program.
        longer: The run can be made longer.
    """
    get = results.get
    lines = [f"Trained {results['epochs']:.0f} epochs in {_duration(results['seconds'])} (seed {results['seed']:.0f})."]
    if "train/images_per_second" in results:
        lines[0] += f" {get('train/images_per_second'):.0f} samples a second."
    if "val/loss" in results:
        lines.append(
            f"Loss on held-out data: {get('val/loss'):.3f}; a network that knows nothing: {get('val/loss_chance'):.3f}."
        )
    lines += _tested(results)
    for name, whose in (("knn", "the nearest neighbours' labels"), ("linear", "a linear probe")):
        if (key := f"val/{name}_accuracy") in results:
            before = f"; untrained: {results[f'{key}_untrained']:.1%}" if f"{key}_untrained" in results else ""
            lines.append(f"Classes told by {whose}, held-out data: {results[key]:.1%}{before}.")
    if synthetic:
        lines.append(
            "SYNTHETIC images: none of these figures says anything about real ones. Real images: data.root=FOLDER"
        )
    if (directory / "figures").is_dir():
        lines.append(f"Figures: {directory / 'figures'}")
    lines.append(f"The network: fewlabels.load_backbone({str(directory)!r})")
    if longer:
        asked = [f"resume={directory}", f"trainer.max_epochs={2 * results['epochs']:.0f}"]
        lines.append(f"To train longer: {shlex.join(['python', script(), *asked])}")
    return lines


def _tested(results: Mapping[str, float]) -> list[str]:
    """What the test part said, whichever kind of run it was."""
    get, lines = results.get, []
    if "test/spearman" in results:
        lines.append(
            f"Held-out points, embedding against true position: |Spearman| {get('test/spearman'):.4f} (1 is perfect)."
        )
    if "test/rotation_accuracy" in results:
        chance = math.exp(-results["test/loss_chance"])
        lines.append(
            f"Rotation told rightly on test images: {get('test/rotation_accuracy'):.1%} (chance {chance:.0%})."
        )
    if "test/balanced_accuracy" in results:
        lines.append(
            f"Test images: accuracy {get('test/accuracy'):.1%}, balanced {get('test/balanced_accuracy'):.1%}, macro F1 "
            f"{get('test/macro_f1'):.3f}, calibration error {get('test/calibration_error'):.3f}."
        )
    return lines


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
