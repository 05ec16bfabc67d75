"""What a run leaves behind: config.yaml, results.json, and a few plain words."""

import json
import math
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fewlabels.files import write_whole


def save_config(config: dict[str, Any], directory: Path) -> None:
    """Write the resolved, complete configuration, headed by the command that made it."""
    directory.mkdir(parents=True, exist_ok=True)
    text = f"# {command_line()}\n{OmegaConf.to_yaml(OmegaConf.create(config))}"
    write_whole(directory / "config.yaml", text)


def save_results(metrics: Mapping[str, float], directory: Path) -> None:
    """Write results.json: one flat mapping of metric names to numbers."""
    numbers = {name: float(value) if not isinstance(value, int) else value for name, value in sorted(metrics.items())}
    write_whole(
        directory / "results.json", json.dumps({k: v for k, v in numbers.items() if math.isfinite(v)}, indent=2) + "\n"
    )


def in_words(results: Mapping[str, float], directory: Path, *, synthetic: bool) -> list[str]:
    """Say what came out, and which command comes next.

    Args:
        results: What results.json holds.
        directory: The run directory.
        synthetic: The data were drawn by a program.
    """
    get = results.get
    lines = [f"Trained {results['epochs']:.0f} epochs in {_duration(results['seconds'])} (seed {results['seed']:.0f})."]
    if "train/images_per_second" in results:
        lines[0] += f" {get('train/images_per_second'):.0f} samples a second."
    if "val/loss" in results:
        lines.append(
            f"Loss on held-out data: {get('val/loss'):.3f}; a network that knows nothing: {get('val/loss_chance'):.3f}."
        )
    if "test/spearman" in results:
        lines.append(
            f"Held-out points, embedding against true position: |Spearman| {get('test/spearman'):.4f} (1 is perfect)."
        )
    if "test/rotation_accuracy" in results:
        chance = math.exp(-results["test/loss_chance"])
        lines.append(
            f"Rotation told rightly on test images: {get('test/rotation_accuracy'):.1%} (chance {chance:.0%})."
        )
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
    longer = [f"resume={directory}", f"trainer.max_epochs={2 * results['epochs']:.0f}"]
    lines.append(f"To train longer: {shlex.join(['python', script(), *longer])}")
    return lines


def script() -> str:
    """The script that is running; from a notebook or a test, the one that it stands in for."""
    return sys.argv[0] if Path(sys.argv[0]).suffix == ".py" and "launcher" not in sys.argv[0] else "src/pretrain.py"


def command_line() -> str:
    """What was typed to get here, or that nothing was."""
    return (
        shlex.join(["python", *sys.argv]) if script() == sys.argv[0] else "called from Python, not from a command line"
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
