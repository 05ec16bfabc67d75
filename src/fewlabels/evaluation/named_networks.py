"""`run=imagenet` and `run=random`: networks that nothing was trained with, and run directories of them."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fewlabels.core.backbones import Backbone
from fewlabels.core.checkpoints import load_backbone, read_checkpoint
from fewlabels.core.errors import UserError
from fewlabels.training.build import compose_pretraining, evaluation_data_node, instantiate_node
from fewlabels.training.fit import train
from fewlabels.training.run_dir import IMAGENET, IMAGENET_SIZE, is_named_network

BACKBONES: dict[str, tuple[str, ...]] = {"imagenet": IMAGENET, "random": ()}


def make_named_run(name: str, directory: Path, data: list[str], like: str | None = None) -> Path:
    """Make the run directory of a network as it is before any training, as `trainer.max_epochs=0` does.

    Args:
        name: "imagenet", EfficientNet-Lite0 with its ImageNet weights, or "random", a network with random weights.
        directory: The run directory.
        data: Overrides that say on what it is evaluated, such as ["data=plankton", "data.root=FOLDER"]; with data.root
            alone, data=images.
        like: A run whose data settings are taken, and for "random" its backbone too.

    Returns:
        The run directory.

    Raises:
        UserError: There is neither a run nor `data=`, or the network cannot be built.
    """
    if like is None and not any(override.startswith("data=") for override in data):
        if not any(override.startswith("data.root=") for override in data):
            raise UserError(f"run={name} embeds the images of a folder: add data.root=FOLDER, or data=NAME.")
        data = ["data=images", *data]
    dataset = data if like is None else ["data=images"]
    overrides = ["method=simclr", *dataset, *BACKBONES[name], "trainer.max_epochs=0", "logger=csv"]
    config = compose_pretraining(overrides)
    if like is not None:
        described = read_checkpoint(like)[0]["fewlabels"]
        theirs = described["config"]
        config["data"] = evaluation_data_node(theirs["data"], data, described["backbone"])
        if name == "random":
            config |= {"backbone": theirs["backbone"] | {"weights": None}, "seed": theirs["seed"]}
    if name == "imagenet" and not any(override.startswith("data.size=") for override in data):
        config["data"]["size"] = IMAGENET_SIZE
    with _quiet("fewlabels.training", "fewlabels.data.base"):  # nothing is trained, and notices come again
        train(config, directory)
    return directory


def load_network(run: str, data: list[str]) -> tuple[Backbone, str | None]:
    """The network of a run, without its data; and how images are resized for it, None for points.

    Args:
        run: A run directory or checkpoint file, or "imagenet", which is built without a run directory.
        data: Of "imagenet": overrides that say what its input is, such as ["data=plankton"] or ["data.channels=1"].

    Raises:
        UserError: There is no such run, the data are points, or the network cannot be built.
    """
    if not is_named_network(run):
        checkpoint, path = read_checkpoint(run)
        return load_backbone(path), checkpoint["fewlabels"]["config"].get("data", {}).get("resize")
    dataset = data if any(override.startswith("data=") for override in data) else ["data=images", *data]
    config = compose_pretraining(["method=simclr", *dataset, *BACKBONES[run]])
    node = config["data"]
    if node["modality"] != "images":
        raise UserError(f"run={run} embeds images, and {' '.join(data)} are points. Leave it out, or give images.")
    if not any(override.startswith("data.size=") for override in data):
        node["size"] = IMAGENET_SIZE
    of_input = {key: node[key] for key in ("channels", "size", "mean", "std")}
    backbone: Backbone = instantiate_node(config["backbone"], "backbone", **of_input)
    return backbone.eval(), node["resize"]


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Leave out what these loggers say for information."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def resolve_named_networks(settings: dict[str, Any], directory: Path) -> dict[str, Any]:
    """The settings of an evaluation with a run directory in the place of each named network.

    Args:
        settings: As in conf/evaluate.yaml, in plain containers.
        directory: Of the evaluation. The run of a single network is made in it, those of a comparison below it.
    """
    run, data = settings["run"], settings["data"]
    if is_named_network(run):
        return settings | {"run": str(make_named_run(run, directory, data)), "data": []}
    if not isinstance(run, list):
        return settings
    flat = [member for group in run for member in ([group] if isinstance(group, str) else group)]
    others = [member for member in flat if not is_named_network(member)]
    like = others[0] if others else None
    made = {
        name: str(make_named_run(name, directory / name, data, like))
        for name in dict.fromkeys(flat)
        if is_named_network(name)
    }
    runs = [made.get(g, g) if isinstance(g, str) else [made.get(member, member) for member in g] for g in run]
    return settings | {"run": runs}
