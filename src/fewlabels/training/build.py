"""Build what a configuration names. The only module that instantiates classes from a configuration."""

import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra import compose
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import ClusterEnvironment, LightningEnvironment
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fewlabels.callbacks.checkpointing import AtomicCheckpointIO
from fewlabels.callbacks.progress import Progress
from fewlabels.core.backbones import Backbone, is_mobile
from fewlabels.core.checkpoints import init_from_checkpoint, read_checkpoint
from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import DataModule, is_images
from fewlabels.data.splits.training_record import TrainingRecord, hold_out_test
from fewlabels.methods.base import Method
from fewlabels.training.config_types import check_targets, check_types
from fewlabels.training.launch import already_launched
from fewlabels.training.loggers import MetricsCSV
from fewlabels.training.resume import last_checkpoint
from fewlabels.training.run_dir import from_overrides, is_rank_zero

log = logging.getLogger(__name__)
DESCRIPTIVE = {
    "data": ("name", "modality", "views", "epochs", "size_schedule"),
    "method": ("name", "modalities", "epochs"),
}
"""Keys of a config group that describe the choice to other groups, and are no arguments of its constructor."""


class Experiment(NamedTuple):
    """What a run consists of."""

    data: DataModule
    method: Method
    trainer: Trainer


def build_experiment(config: dict[str, Any], directory: Path) -> Experiment:
    """Build the data module and set it up, the method with its backbone, the trainer with callbacks and loggers.

    Args:
        config: Resolved, in plain containers.
        directory: The run directory.

    Raises:
        UserError: A setting is invalid, or the images or the initial checkpoint cannot be used.
    """
    seed_everything(config["seed"], verbose=False)  # the initial weights
    data = build_data(config["data"])
    method = build_method(config, build_backbone(config["backbone"], data))
    resumes = config["resume"] and last_checkpoint(directory)
    data.setup("fit")
    before = None
    if config.get("checkpoint"):
        checkpoint, path = read_checkpoint(resumes or config["checkpoint"])
        if not resumes:
            init_from_checkpoint(method.backbone, checkpoint, path)
        before = training_record(checkpoint, path, data)
        hold_out_test(data, before, path)
    if method.supervised and is_images(data):
        method.set_classes(data.seen_classes, data.use_labelled_only().tolist())
    method.config, method.fingerprint = config, data.fingerprint
    method.trained_on = TrainingRecord.of(data, labelled=method.supervised, initial=before).state()
    if config["trainer"]["max_epochs"] == 0:
        method.trained_on = TrainingRecord.of_nothing(data).state()
    return Experiment(data, method, build_trainer(config, directory, method.backbone))


def training_record(checkpoint: dict[str, Any], path: Path, data: DataModule) -> TrainingRecord | None:
    """What a network was trained on: as its checkpoint says, or as its data settings say if the images are the same.

    Args:
        checkpoint: As `read_checkpoint` returned it.
        path: Its file.
        data: The data module at hand, set up.

    Returns:
        None for a checkpoint of a version that kept no record, unless `data` has its set of images.
    """
    described = checkpoint["fewlabels"]
    if described.get("trained_on"):
        return TrainingRecord.read(described["trained_on"])
    node = described["config"]["data"]
    if described.get("images") != data.fingerprint or node["name"] != data.name:
        return None
    check_targets(node, path, trust=[f"{type(data).__module__}.{type(data).__qualname__}"])
    moved = {"root": data.root} if is_images(data) else {}
    original = build_data(node | moved)
    original.setup()
    return TrainingRecord.of(original, labelled=False)


def build_data(node: dict[str, Any]) -> DataModule:
    """Build the data module of a `data` node; `setup` is left to the caller."""
    data: DataModule = instantiate_node(node, "data")
    return data


def build_backbone(node: dict[str, Any], data: DataModule) -> Backbone:
    """Build a backbone for the images or points of a data module."""
    of_input = {name: getattr(data, name) for name in ("channels", "size", "mean", "std")}
    backbone: Backbone = instantiate_node(node, "backbone", **of_input)
    return backbone


def build_method(config: dict[str, Any], backbone: Backbone) -> Method:
    """Build the method of a configuration around a backbone."""
    method: Method = instantiate_node(
        config["method"], "method", backbone=backbone, seed=config["seed"],
        size_schedule=config["data"].get("size_schedule"),
    )  # fmt: skip
    return method


def build_trainer(config: dict[str, Any], directory: Path, backbone: Backbone) -> Trainer:
    """Build Lightning's Trainer with the callbacks and loggers of a run that trains this backbone.

    Raises:
        UserError: Lightning refuses a setting; its words are in the message.
    """
    node = config["trainer"]
    callbacks = [instantiate_node(c, f"callbacks.{name}") for name, c in config["callbacks"].items() if c]
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint):
            callback.dirpath = str(directory / "checkpoints")
    loggers = build_loggers(config, directory)
    try:
        trainer: Trainer = instantiate_node(
            node | {"precision": resolve_precision(node, backbone), "enable_progress_bar": False}, "trainer",
            callbacks=[*callbacks, *([Progress()] if node["enable_progress_bar"] else [])],
            logger=loggers, default_root_dir=str(directory), plugins=[AtomicCheckpointIO(), *_environment()],
        )  # fmt: skip
    except (ValueError, TypeError, MisconfigurationException, InstantiationException) as error:
        raise UserError(f"trainer: Lightning refuses these settings: {error}") from error
    return trainer


def _environment() -> list[ClusterEnvironment]:
    """In a SLURM allocation without srun, such as a shell of salloc, Lightning would wait for further processes."""
    inside = "SLURM_NTASKS" in os.environ and not already_launched()
    return [LightningEnvironment()] if inside else []


def build_loggers(config: dict[str, Any], directory: Path) -> list[Logger]:
    """Build metrics.csv and the loggers of a run; one that cannot start is left out, with a warning of its own."""
    nodes = {name: node for name, node in config["logger"].items() if node}
    others = [
        instantiate_node(node, f"logger.{name}", directory=str(directory), config=config)
        for name, node in nodes.items()
    ]
    return [MetricsCSV(str(directory)), *(logger for logger in others if logger)]


def evaluation_data_node(trained_on: dict[str, Any], overrides: list[str], backbone: dict[str, Any]) -> dict[str, Any]:
    """The `data` node of an evaluation: the run's own with overrides `data.key=value`, or with `data=name` another one.

    Images of another dataset get the size, channels and normalisation of the network, unless overrides say otherwise.

    Args:
        trained_on: The `data` node of the run.
        overrides: Such as ["data.root=FOLDER"].
        backbone: The network's description.

    Raises:
        UserError: An override names an unknown key.
    """
    if any(override.startswith("data=") for override in overrides):
        composed = compose_pretraining(overrides)
        given = {override.partition("=")[0] for override in overrides}
        kept = {key: backbone[key] for key in ("size", "channels", "mean", "std") if f"data.{key}" not in given}
        return dict(composed["data"]) | kept
    node = OmegaConf.create({"data": trained_on})
    OmegaConf.set_struct(node, True)
    try:
        merged = OmegaConf.merge(node, from_overrides(overrides))
    except OmegaConfBaseException as error:
        raise UserError(f"{' '.join(overrides)}: {error}") from None
    data: Any = OmegaConf.to_container(merged, resolve=True)
    return dict(data["data"])


def compose_pretraining(overrides: list[str]) -> dict[str, Any]:
    """The configuration of a pretraining with these overrides, resolved, in plain containers; within Hydra's app."""
    config: Any = OmegaConf.to_container(compose("pretrain", overrides=overrides), resolve=True)
    return dict(config)


def instantiate_node(node: dict[str, Any], key: str, **arguments: Any) -> Any:
    """Instantiate a node's `_target_` with its values and further arguments, after a check of their types.

    Args:
        node: A part of the configuration.
        key: Its place there, such as "data" or "callbacks.probes"; `DESCRIPTIVE` keys are left out.
        **arguments: Objects that a configuration cannot hold.

    Raises:
        UserError: As the constructor raised it, without Hydra's wrapping, or a value of the wrong type.
    """
    kept = {name: value for name, value in node.items() if name not in DESCRIPTIVE.get(key, ())}
    check_types(kept, key)
    try:
        return instantiate(kept, _partial_=True, _convert_="all")(**arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise


def resolve_precision(trainer: dict[str, Any], backbone: Backbone | None = None) -> str:
    """Resolve `trainer.precision=auto`: "bf16-mixed" where the device computes bf16 natively, else "32-true".

    A CPU without avx512_bf16 or AMX emulates bf16, far more slowly than float32; asked for explicitly, it warns.
    Mobile networks (`is_mobile`) train faster in float32 even on a CPU that computes bf16, and get float32 on any CPU.
    """
    precision, on_gpu = str(trainer["precision"]), trainer["accelerator"] in ("auto", "gpu", "cuda")
    if on_gpu and torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("bf16-mixed" if native else "32-true") if precision == "auto" else precision
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    if precision == "auto":
        return "bf16-mixed" if native and not (backbone and is_mobile(backbone)) else "32-true"
    if precision.startswith("bf16") and trainer["accelerator"] in ("auto", "cpu") and not native and is_rank_zero():
        log.warning(
            "trainer.precision=%s: this CPU has neither avx512_bf16 nor AMX and emulates bf16, about 20 times slower "
            "than float32. Use trainer.precision=auto, which is 32-true here.", precision,
        )  # fmt: skip
    return precision
