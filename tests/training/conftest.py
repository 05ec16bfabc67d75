"""Folders of random images, and trainings in this process."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from fewlabels.cli.app import compose_config
from fewlabels.training.fit import train
from fewlabels.training.resume import resumed_config


@pytest.fixture
def save_image():
    """`save_image(file, seed)` writes 32 x 32 pixels of colour noise."""

    def save(file, seed):
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)).save(file)

    return save


@pytest.fixture
def folder(tmp_path, save_image):
    """Three classes, "a" to "c", of 30 images each."""
    for label, name in enumerate("abc"):
        for number in range(30):
            save_image(tmp_path / f"images/{name}/{number}.png", (label, number))
    return tmp_path / "images"


@pytest.fixture
def run(tmp_path, environment, monkeypatch, lightning_log_levels):
    """`run(script, name, *overrides)` composes and trains in this process, in `tmp_path/name`."""
    monkeypatch.setenv("FEWLABELS_CACHE", environment["FEWLABELS_CACHE"])

    def call(script, name, *overrides):
        train(compose_config(*overrides, script=script), tmp_path / name)
        return tmp_path / name

    return call


@pytest.fixture
def resume(tmp_path, environment, monkeypatch, lightning_log_levels):
    """`resume(name, *overrides)` continues `tmp_path/name` in this process, as `resume=` does on a command line."""
    monkeypatch.setenv("FEWLABELS_CACHE", environment["FEWLABELS_CACHE"])

    def call(name, *overrides):
        cfg = resumed_config(OmegaConf.create({"resume": str(tmp_path / name)}), list(overrides))
        train(OmegaConf.to_container(cfg, resolve=True), tmp_path / name)
        return tmp_path / name

    return call


@pytest.fixture
def weights():
    """`weights(directory, name="last")` reads the weights of a checkpoint."""

    def read(directory, name="last"):
        return torch.load(directory / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]

    return read


@pytest.fixture
def assert_same():
    """`assert_same(one, other)` compares the weights of two networks bit by bit."""

    def compare(one, other):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert torch.equal(value, other[name]), name

    return compare
