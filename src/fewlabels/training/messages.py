"""Log messages before and after a run."""

import logging
import math
import platform
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from fewlabels.core.interfaces import DataModule
from fewlabels.core.optim import OptimizerConfig, lr_factor
from fewlabels.methods.base import Method
from fewlabels.methods.rotnet import RotNet
from fewlabels.training.run_dir import program

log = logging.getLogger(__name__)


def announce(config: dict[str, Any], data: DataModule, method: Method, trainer: Trainer, resume: Path | None) -> None:
    """Log what is about to be trained, on what, and from where."""
    weights = sum(p.numel() for p in method.backbone.parameters())
    size = f"{weights / 1e6:.1f} M" if weights > 1e6 else f"{weights:,}"
    log.info(
        "%s on %s: %s backbone with %s weights, %d epochs, batch size %d x %d on %s, precision %s",
        type(method).__name__, data.name, method.backbone.description.get("name", "mlp"), size,
        trainer.max_epochs, trainer.world_size, data.batch_size, trainer.strategy.root_device.type,
        trainer.precision,
    )  # fmt: skip
    if "checkpoint" in config and not resume:
        log.info(describe_init(config, method))
    if isinstance(method, RotNet) and data.name == "plankton":
        log.warning("Plankton has no canonical orientation, so rotation prediction is ill-posed on it.")
    if resume:
        log.info("Resuming from %s", resume)
    elif config["resume"]:
        log.info("That run has no checkpoint to resume from: starting from the first step.")


def describe_devices(trainer: Trainer) -> str:
    """Number and name of the devices of a training, such as "2 × NVIDIA H100 PCIe"; all are taken to be alike."""
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({_cpu_name()})"
    return f"{trainer.world_size} × {name}"


def _cpu_name() -> str:
    """As Linux names the processor; elsewhere its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def describe_init(config: dict[str, Any], method: Method) -> str:
    """Which parameters of a finetuning are loaded, and which are randomly initialised."""
    sizes = {name: "×".join(map(str, p.shape)) for name, p in method.named_parameters()}
    head = ", ".join(f"{name} {size}" for name, size in sizes.items() if not name.startswith("backbone."))
    count = sum(name.startswith("backbone.") for name in sizes)
    weights = config["backbone"].get("weights")
    if source := config["checkpoint"] or (weights and f"{weights} weights"):
        return f"Loaded {count} backbone parameters and batch-norm statistics from {source}. New: {head}."
    return f"Training from scratch: {count} backbone parameters and {head} are randomly initialised."


def summarise_run(results: Mapping[str, float], directory: Path, *, synthetic: bool) -> list[str]:
    """The closing lines: the results, and the commands that come next.

    Args:
        results: As in results.json.
        directory: The run directory.
        synthetic: The images were synthetic.
    """
    get = results.get
    lines = [f"Trained {results['epochs']:.0f} epochs in {_duration(results['seconds'])} (seed {results['seed']:.0f})."]
    if not results["epochs"]:
        lines = [f"Not trained: the network has its initial weights (seed {results['seed']:.0f})."]
    if "train/images_per_second" in results:
        lines[0] += f" {get('train/images_per_second'):.0f} samples/s."
    if "val/loss" in results:
        lines.append(f"val loss {get('val/loss'):.3f} (chance level {get('val/loss_chance'):.3f})")
    lines += _test_lines(results)
    for name, label in (("knn", "kNN"), ("linear", "linear probe")):
        if (key := f"val/{name}_accuracy") in results:
            notes = []
            if f"{key}_se" in results:
                notes.append(f"standard error {results[f'{key}_se']:.1%} on {results['val/probes_n']:.0f} images")
            if f"{key}_untrained" in results:
                notes.append(f"before training {results[f'{key}_untrained']:.1%}")
            lines.append(f"val {label} accuracy: {results[key]:.1%}" + (f" ({'; '.join(notes)})" if notes else ""))
    if synthetic:
        lines.append("SYNTHETIC images: these numbers say nothing about real ones. Real images: data.root=FOLDER")
    if (directory / "figures").is_dir():
        lines.append(f"Figures: {directory / 'figures'}")
    lines.append(f"Load the backbone: fewlabels.load_backbone({str(directory)!r})")
    return lines


def train_longer(trainer: Trainer, optimizer: OptimizerConfig, directory: Path) -> str:
    """The command that continues a finished run, and what the learning rate then does."""
    epochs, planned, steps = trainer.current_epoch, trainer.max_epochs or -1, trainer.global_step
    change, note = [], ""
    if steps >= trainer.max_steps > 0:
        change = [f"trainer.max_steps={2 * steps}"]
        note = change_of_rate(optimizer, epochs, epochs, min(2 * epochs, planned if planned > 0 else 2 * epochs))
    elif epochs >= planned > 0:
        change = [f"trainer.max_epochs={2 * epochs}"]
        note = change_of_rate(optimizer, epochs, epochs, 2 * epochs)
    return f"Train longer: {shlex.join([*program(), f'resume={directory}', *change])}" + (f"  ({note})" if note else "")


def change_of_rate(optimizer: OptimizerConfig, done: float, before: float, after: float) -> str:
    """What the learning rate does where a run that was planned for `before` epochs goes on to `after` epochs.

    The schedule is computed anew for the new length: a cosine that has ended rises again. Only "constant" continues.

    Args:
        optimizer: Has the schedule.
        done: Epochs that have been trained.
        before: Epochs that the schedule was planned for.
        after: Epochs that it is planned for now.
    """
    if optimizer.schedule == "constant":
        return "the learning rate stays constant"
    old, new = (
        lr_factor(
            round(1000 * done), total_steps=round(1000 * total), warmup_steps=round(1000 * optimizer.warmup_epochs),
            schedule=optimizer.schedule, min_fraction=optimizer.min_lr_fraction, milestones=optimizer.milestones,
            gamma=optimizer.gamma,
        )
        for total in (before, after)
    )  # fmt: skip
    return (
        f"the learning rate goes from {old:.0%} of its full value to {new:.0%}, where the {optimizer.schedule} "
        f"schedule of {after:g} epochs is at epoch {done:g}; this is not a run of {after:g} epochs from the start"
    )


def _test_lines(results: Mapping[str, float]) -> list[str]:
    """The test metrics, whichever kind of run it was."""
    get, lines = results.get, []
    if "test/spearman" in results:
        lines.append(f"test |Spearman| of the 1-D embedding and the true position: {get('test/spearman'):.4f} (best 1)")
    if "test/rotation_accuracy" in results:
        chance = math.exp(-results["test/loss_chance"])
        lines.append(f"test rotation accuracy: {get('test/rotation_accuracy'):.1%} (chance level {chance:.0%})")
    if "test/balanced_accuracy" in results:
        lines.append(
            f"test accuracy {get('test/accuracy'):.1%}, balanced accuracy {get('test/balanced_accuracy'):.1%}, macro "
            f"F1 {get('test/macro_f1'):.3f}, calibration error {get('test/calibration_error'):.3f}"
        )
    return lines


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
