"""Every method with every dataset, from configuration to a trained step; and every mistake to its message."""

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from fewlabels.application import configuration
from fewlabels.data.cifar10 import Cifar10
from fewlabels.data.stl10 import Stl10
from fewlabels.errors import UserError
from fewlabels.experiment import train
from test_conf import DATA, METHODS

ROOT = Path(__file__).parents[1]
SMALL = (
    "trainer=cpu", "trainer.max_epochs=1", "trainer.limit_train_batches=1", "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1", "logger=csv", "data.batch_size=8",
)  # fmt: skip
IMAGES = ("backbone=mobilenet_v3_small", "data.size=32", "data.min_class_size=1")


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for name in "abcde":
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(12):
            Image.fromarray(random.integers(0, 256, (20, 24, 3), np.uint8)).save(
                tmp_path / f"images/{name}/{number}.png"
            )
    return tmp_path / "images"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Compose and pretrain in this process, with the given overrides."""
    monkeypatch.setenv("FEWLABELS_CACHE", str(tmp_path / "cache"))

    def call(*overrides):
        config = configuration(*overrides)
        with warnings.catch_warnings():
            train(config, tmp_path / "run")
        return tmp_path / "run"

    yield call
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.INFO)


def official(self):
    """Stand in for a download: 60 images in the layout that these sets hand over."""
    names = ["ship", "bird", "cat"]
    kinds = ["train"] * 40 + ["test"] * 20
    paths = [f"{names[i % 3]}/{kind}-{i:05d}" for i, kind in enumerate(kinds)]
    return paths, np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("method", METHODS)
def test_every_pair_trains_a_step(run, folder, monkeypatch, method, data):
    if data == "spirals" and method != "siamese":
        pytest.skip("points: tests/test_conf.py checks the documented error")
    monkeypatch.setattr(Cifar10, "_load", official)
    monkeypatch.setattr(Stl10, "_load", official)
    own = [] if data == "spirals" else list(IMAGES)
    own += [] if data in ("spirals", "cifar10", "stl10") else [f"data.root={folder}"]
    own += ["data.unseen=1"] if data == "plankton" else []
    directory = run(f"method={method}", f"data={data}", *SMALL, *own)
    checkpoint = torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 1
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


MISTAKES = {
    "no root": (["data.root=nowhere"], r"data\.root=nowhere does not exist"),
    "batch too large": (["data.root={folder}", "data.batch_size=500"], r"data\.batch_size=500 .*at most"),
    "temperature 0": (["data.root={folder}", "method.temperature=0"], r"method\.temperature=0"),
    "no labels": (["data.root={folder}", "data.label_fraction=0"], r"data\.label_fraction=0"),
    "too many labels": (["data.root={folder}", "data.label_fraction=2"], r"data\.label_fraction=2"),
    "unknown network": (["data.root={folder}", "backbone.name=resnet19"], r"resnet19 .*resnet18"),
    "images that a network cannot take": (["data.root={folder}", "data.size=40", "backbone=vit_b_16"], r"data\.size"),
    "images too small": (["data.root={folder}", "data.size=1"], r"data\.size=1: give at least 8 pixels"),
    "a batch of one": (["data.root={folder}", "data.batch_size=1"], r"data\.batch_size=1: method=simclr .* at least 2"),
    "a flat deviation": (["data.root={folder}", "data.std=[0,0,0]"], r"data\.std=\[0, 0, 0\]: .* above 0"),
    "a mean that is none": (["data.root={folder}", "data.mean=[nan]"], r"data\.mean=\[nan\]: give finite"),
    "no class to see": (["data.root={folder}", "data.seen=[]"], r"data\.seen=\[\] names no class"),
    "classes below nothing": (["data.root={folder}", "data.min_class_size=-1"], r"data\.min_class_size=-1: give at"),
    "hue out of range": (["data.root={folder}", "data.views.hue=0.9"], r"data\.views\.hue=0\.9: .* from 0 to 0\.5"),
    "views out of range": (["data.root={folder}", "data.views.scale=[0.5,2]"], r"data\.views\.scale=\[0\.5, 2\]"),
    "unknown source": (["data.source=web"], r"data\.source=web must be one of auto, folder"),
    "rate 0": (["data.root={folder}", "method.optimizer.lr=0"], r"method\.optimizer\.lr=0"),
    "no head": (["data.root={folder}", "method.head.layers=0"], r"method\.head\.layers=0"),
    "text for a number": (
        ["data.root={folder}", "data.size=abc"],
        r"data\.size='abc' is of the wrong kind: give a whole number",
    ),
    "a number for names": (
        ["data.root={folder}", "data.seen=3"],
        r"data\.seen=3 is of the wrong kind: give a list of names, \[a,b\] or null",
    ),
    "unknown precision": (["data.root={folder}", "trainer.precision=17"], r"trainer: Lightning refuses"),
    "unknown class": (["data.root={folder}", "data.unseen=[rose]"], r"rose"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_remedy(run, folder, tmp_path, mistake):
    overrides, message = MISTAKES[mistake]
    given = [text.format(folder=folder) for text in overrides]
    with pytest.raises(UserError, match=message):
        run("method=simclr", "data=flowers", *SMALL, *IMAGES, *given)
    assert not (tmp_path / "run").exists(), "a run that never began leaves nothing behind"


COMMANDS = {
    "misspelt key": (["method=simclr", "method.temprature=0.1"], "Did you mean method.temperature? method=simclr has"),
    "a default that is not listed": (
        ["method=simclr", "data=flowers", "data.views.degrees=9"],
        "To set it write +data.views.degrees=… with a plus",
    ),
    "misspelt group": (["methd=simclr"], "methd: there is no such key. Did you mean method?"),
    "misspelt choice": (["method=simclear"], "Did you mean simclr? Choose from arcface, rotnet, siamese, simclr"),
    "half a list": (["method.k=[1"], "'[1'"),
    "a checkpoint for its run": (["resume=old/checkpoints/last.ckpt"], "For this checkpoint that is resume=old."),
    "too many devices": (["trainer.devices=4096"], "Give a number from 1 to"),
    "no such run": (["resume=nowhere"], "there is no nowhere/config.yaml"),
    "a file for a directory": (["hydra.run.dir=file/run"], "Not a directory"),
    "points for SimCLR": (["method=simclr", "data=spirals"], "works on images, but data=spirals are points"),
    "no epochs": (["trainer.max_epochs=0"], "trainer.max_epochs=0: give a whole number"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistake_on_the_command_line_is_one_screen_without_traceback(tmp_path, command):
    overrides, message = COMMANDS[command]
    (tmp_path / "file").write_text("")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.yaml").write_text("")
    script = [sys.executable, str(ROOT / "src" / "pretrain.py"), *overrides]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert message in said
    assert "Traceback" not in said
    assert "Hydra" not in said
    assert len(said.splitlines()) < 10
    assert {path.name for path in tmp_path.iterdir()} == {"file", "old"}, "a run that never began leaves nothing behind"


def test_a_file_where_runs_go_is_named(tmp_path):
    (tmp_path / "runs").write_text("")
    script = [sys.executable, str(ROOT / "src" / "pretrain.py")]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"Runs go to {tmp_path / 'runs'}: it cannot be written to" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_lists_the_choices_and_not_their_parts():
    done = subprocess.run([sys.executable, str(ROOT / "src" / "pretrain.py"), "--help"], capture_output=True, text=True)
    assert "method: arcface, rotnet, siamese, simclr, softmax, triplet" in done.stdout
    assert "_images" not in done.stdout


@pytest.mark.images
@pytest.mark.parametrize(("data", "count", "classes"), [("flowers", 4317, 5), ("plankton", 22_882, 76)])
def test_real_images_train_a_step(run, data, count, classes):
    root = Path(os.environ["FEWLABELS_IMAGES"]) / data
    directory = run("method=simclr", f"data={data}", f"data.root={root}", *SMALL, "data.size=32", IMAGES[0])
    said = (directory / "metrics.csv").read_text()
    assert "train/contrastive_top1" in said
    (store,) = (directory.parent / "cache").glob(f"{data}-*.npy")
    assert len(np.load(store, mmap_mode="r")) == count
    settings = yaml.safe_load((directory / "config.yaml").read_text())["data"]
    folders = [folder for folder in root.iterdir() if folder.is_dir()]
    usable = [folder for folder in folders if sum(1 for _ in folder.iterdir()) >= settings["min_class_size"]]
    assert len(usable) == classes
