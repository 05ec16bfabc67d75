"""Checkpoints and configurations of version 0.1 are given the names of this version."""

import copy
import importlib
from pathlib import Path

import pytest
import torch
import yaml

from fewlabels import load_backbone
from fewlabels.core.backbones import mlp
from fewlabels.core.checkpoints import upgrade_checkpoint, upgrade_config

CONF = Path(__file__).parents[2] / "conf"

TARGETS_OF_0_1 = {
    "backbone": ["fewlabels.backbones.mlp", "fewlabels.backbones.vision"],
    "optimizer": ["fewlabels.optim.Recipe"],
    "views": ["fewlabels.views.RandomViews"],
    "method": [
        "fewlabels.methods.simclr.SimCLR",
        "fewlabels.methods.rotnet.RotNet",
        "fewlabels.methods.siamese.Siamese",
        "fewlabels.methods.softmax.Softmax",
        "fewlabels.methods.arcface.ArcFace",
        "fewlabels.methods.triplet.Triplet",
        "fewlabels.methods.finetune.Finetune",
    ],
    "data": [
        "fewlabels.data.spirals.Spirals",
        "fewlabels.data.plankton.Plankton",
        "fewlabels.data.flowers.Flowers",
        "fewlabels.data.images.Images",
        "fewlabels.data.cifar10.Cifar10",
        "fewlabels.data.stl10.Stl10",
    ],
    "logger": ["fewlabels.loggers.wandb_logger"],
    "callbacks": [
        "lightning.pytorch.callbacks.ModelCheckpoint",
        "fewlabels.callbacks.checkpoints.LastCheckpoint",
        "fewlabels.callbacks.probes.OnlineProbes",
        "fewlabels.callbacks.speed.Speed",
        "fewlabels.callbacks.signals.SaveOnSignal",
        "fewlabels.callbacks.views.ViewsFigure",
        "fewlabels.callbacks.space.SpaceFigures",
        "fewlabels.callbacks.health.HealthMonitor",
        "fewlabels.callbacks.spirals.SpiralFigures",
        "fewlabels.callbacks.predictions.Predictions",
    ],
}
"""Targets in configurations of version 0.1, by what they build."""


@pytest.mark.parametrize("target", [target for targets in TARGETS_OF_0_1.values() for target in targets])
def test_every_target_of_version_0_1_is_renamed_to_one_that_exists(target):
    upgraded = upgrade_config({"node": [{"_target_": target}]})["node"][0]["_target_"]
    module, _, name = upgraded.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


OLD = {
    "backbone": {"_target_": "fewlabels.backbones.mlp", "hidden": [8, 8], "dim": 1},
    "callbacks": {
        "best": {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "monitor": "val/loss"},
        "last": {"_target_": "fewlabels.callbacks.checkpoints.LastCheckpoint", "every_n_epochs": 10},
        "speed": {"_target_": "fewlabels.callbacks.speed.Speed"},
        "signals": {"_target_": "fewlabels.callbacks.signals.SaveOnSignal"},
        "spirals": {"_target_": "fewlabels.callbacks.spirals.SpiralFigures"},
        "views": {"_target_": "fewlabels.callbacks.views.ViewsFigure", "images": 8},
        "space": None,
        "health": None,
    },
    "logger": {"csv": {"_target_": "fewlabels.loggers.MetricsCSV"}},
    "data": {
        "_target_": "fewlabels.data.spirals.Spirals",
        "called": "spirals",
        "kind": "points",
        "siamese": {"epochs": 20, "lr": 0.0137, "weight_decay": 0.0},
        "views": None,
    },
    "method": {
        "_target_": "fewlabels.methods.siamese.Siamese",
        "called": "siamese",
        "accepts": ["points", "images"],
        "optimizer": {"_target_": "fewlabels.optim.Recipe", "name": "adamw", "lr": 0.0137, "schedule": "cosine"},
    },
    "seed": 0,
    "resume": None,
}
NEW = {
    "backbone": {"_target_": "fewlabels.core.backbones.mlp", "hidden": [8, 8], "dim": 1},
    "callbacks": {
        "best": {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "monitor": "val/loss"},
        "last": {"_target_": "fewlabels.callbacks.checkpointing.LastCheckpoint", "every_n_epochs": 10},
        "throughput": {"_target_": "fewlabels.callbacks.throughput.Throughput"},
        "save_on_signal": {"_target_": "fewlabels.callbacks.save_on_signal.SaveOnSignal"},
        "spiral_plots": {"_target_": "fewlabels.callbacks.spiral_plots.SpiralPlots"},
        "preview_views": {"_target_": "fewlabels.callbacks.preview_views.PreviewViews", "images": 8},
        "embedding_plots": None,
        "representation_quality": None,
    },
    "logger": {},
    "data": {
        "_target_": "fewlabels.data.spirals.Spirals",
        "name": "spirals",
        "modality": "points",
        "epochs": 20,
        "views": None,
    },
    "method": {
        "_target_": "fewlabels.methods.siamese.Siamese",
        "name": "siamese",
        "modalities": ["points", "images"],
        "optimizer": {
            "_target_": "fewlabels.core.optim.OptimizerConfig",
            "name": "adamw",
            "lr": 0.0137,
            "schedule": "cosine",
            "warmup_epochs": 0,
        },
    },
    "seed": 0,
    "resume": None,
}


def test_a_configuration_of_version_0_1_gets_the_keys_and_targets_of_this_version():
    before = copy.deepcopy(OLD)
    assert upgrade_config(OLD) == NEW
    assert before == OLD, "the argument was changed"


def test_a_warmup_of_version_0_1_is_kept():
    optimizer = {"_target_": "fewlabels.optim.Recipe", "name": "adamw", "warmup_epochs": 2}
    upgraded = upgrade_config({"method": {"optimizer": optimizer}})
    assert upgraded["method"]["optimizer"]["warmup_epochs"] == 2


@pytest.mark.parametrize(
    "config", [NEW, {}, {"method": None, "data": None, "logger": None}, {"method": "x", "data": []}]
)
def test_upgrading_changes_nothing_else(config):
    assert upgrade_config(config) == config


@pytest.mark.parametrize("file", sorted(CONF.rglob("*.yaml")), ids=lambda file: str(file.relative_to(CONF)))
def test_the_configuration_files_of_this_version_are_unchanged(file):
    node, group = yaml.safe_load(file.read_text()), file.parent.name
    config = {"conf": node, "optimizer": {"method": {"optimizer": node}}}.get(group, {group: node})
    assert upgrade_config(config) == config


def old_checkpoint(backbone):
    return {
        "state_dict": {f"backbone.{name}": value for name, value in backbone.state_dict().items()},
        "callbacks": {"Speed": {"seconds": 3.0}, "ViewsFigure": {"done": True}, "LastCheckpoint": {"a": 1}},
        "fewlabels": {
            "backbone": backbone.description | {"builder": "fewlabels.backbones:mlp"},
            "config": OLD,
            "images": None,
        },
    }


def test_a_checkpoint_of_version_0_1_gets_the_names_of_this_version(tmp_path):
    backbone = mlp(channels=2, hidden=[8, 8], dim=1)
    checkpoint = old_checkpoint(backbone)
    upgraded = upgrade_checkpoint(checkpoint)
    assert upgraded["fewlabels"]["backbone"] == backbone.description
    assert upgraded["fewlabels"]["config"] == NEW
    assert upgraded["callbacks"] == {
        "Throughput": {"seconds": 3.0}, "PreviewViews": {"done": True}, "LastCheckpoint": {"a": 1},
    }  # fmt: skip
    assert upgraded["state_dict"] is checkpoint["state_dict"]
    assert checkpoint["fewlabels"]["config"] == OLD, "the argument was changed"
    torch.save(checkpoint, tmp_path / "old.ckpt")
    points = torch.randn(5, 2)
    assert torch.equal(load_backbone(tmp_path / "old.ckpt")(points), backbone(points))


def test_upgrading_a_checkpoint_of_this_version_changes_nothing():
    upgraded = upgrade_checkpoint(old_checkpoint(mlp(channels=2, hidden=[8, 8], dim=1)))
    assert upgrade_checkpoint(upgraded) == upgraded
    assert upgrade_checkpoint({"state_dict": {}}) == {"state_dict": {}}


def test_pretrained_weights_of_version_0_1_keep_training_their_norms():
    assert (
        upgrade_config({"backbone": {"name": "resnet18", "weights": "imagenet"}})["backbone"]["frozen_norms"] is False
    )
    assert "frozen_norms" not in upgrade_config({"backbone": {"name": "resnet18", "weights": None}})["backbone"]
