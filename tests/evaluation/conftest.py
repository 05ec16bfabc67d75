"""A small run on image files, written without training; the settings of its evaluation, and its context."""

import copy
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewlabels.cli.app import compose_config
from fewlabels.data.splits.training_record import TrainingRecord
from fewlabels.evaluation.context import load_context
from fewlabels.figures.style import new_figure
from fewlabels.training.build import build_backbone, build_data, build_method
from fewlabels.training.run_dir import save_config, save_results

CLASSES = ("bud", "cell", "disc", "rod", "star")
PER_CLASS = 24
TINY = (
    "method=simclr", "data=plankton", "data.size=32", "data.batch_size=32", "data.min_class_size=1",
    "data.unseen=[rod,star]", "data.val_fraction=0.2", "data.test_fraction=0.2", "backbone=mobilenet_v3_small",
    "method.head.hidden=16", "logger=csv",
)  # fmt: skip
QUICK = ("repeats=2", "budgets=[4,10]", "probes=[knn]", "max_samples=90")


def write_images(folder):
    """24 grey images per class; a class has its own brightness."""
    random = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(PER_CLASS):
            pixels = np.clip(random.normal(40 * label + 40, 25, (24, 24)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def write_run(directory, *overrides):
    """A run directory as training leaves it; "trained" weights are other random ones, with batch norm statistics."""
    config = compose_config(*overrides)
    data = build_data(config["data"])
    data.setup()
    torch.manual_seed(1000 + config["seed"])
    method = build_method(config, build_backbone(config["backbone"], data))
    method.config, method.fingerprint = config, data.fingerprint
    method.trained_on = TrainingRecord.of(data, labelled=method.supervised).state()
    for module in method.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.5
    x = next(iter(data.loader("train"))).x
    x = x.repeat(2, 1, 1, 1) if len(x) == 1 else x  # batch norms need two
    with torch.no_grad():
        for _ in range(8):
            method.train().embed(x)
    loops = {"fit_loop": {"epoch_progress": {"current": {"processed": 1}}}}
    checkpoint = {"state_dict": method.state_dict(), "epoch": 0, "global_step": 8, "loops": loops}
    method.on_save_checkpoint(checkpoint)
    (directory / "checkpoints").mkdir(parents=True)
    torch.save(checkpoint, directory / "checkpoints" / "last.ckpt")
    save_config(config, directory)
    save_results({"val/loss": 3.0, "val/loss_chance": 3.4, "seconds": 90.0}, directory)


@pytest.fixture(scope="session")
def _session(tmp_path_factory):
    """A folder of images, a run on it, and its context, which tests must not change."""
    folder = tmp_path_factory.mktemp("evaluation")
    write_images(folder / "images")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEWLABELS_CACHE", str(folder / "cache"))
        write_run(folder / "run", *TINY, f"data.root={folder / 'images'}")
        settings = compose_config(*QUICK, script="evaluate") | {"run": str(folder / "run"), "data": []}
        yield folder, settings, load_context(settings)


@pytest.fixture
def context(_session):
    """The context of `run`: 3 seen classes, and 2 unseen ones whose 48 images are divided into pool and test."""
    return _session[2]


@pytest.fixture
def folder(_session, tmp_path, monkeypatch):
    """A folder with a copy of `run`, which a test may change."""
    monkeypatch.setenv("FEWLABELS_CACHE", str(_session[0] / "cache"))
    shutil.copytree(_session[0] / "run", tmp_path / "run")
    yield tmp_path
    for name in ("lightning.pytorch", "lightning.fabric"):  # `evaluate` silences them
        logging.getLogger(name).setLevel(logging.INFO)


@pytest.fixture
def images(_session, folder):
    """A copy of the images that `run` was trained on, which a test may change."""
    return Path(shutil.copytree(_session[0] / "images", folder / "images"))


@pytest.fixture
def settings(_session, folder):
    """Make the settings of an evaluation of `run` in `folder`; `data` lists changes to the data of the run."""

    def make(*analyses, run="run", **changes):
        runs = [str(folder / name) for name in run] if isinstance(run, list) else str(folder / run)
        nodes = _session[1]["analyses"]
        chosen = {name: nodes[name] for name in analyses} if analyses else nodes
        return copy.deepcopy(_session[1]) | {"run": runs, "analyses": chosen} | changes

    return make


@pytest.fixture
def new_run(folder, _session):
    """Write another run into `folder`; by default like `run`, on the same images."""

    def write(name, *overrides):
        same = (*TINY, f"data.root={_session[0] / 'images'}", "seed=1")
        write_run(folder / name, *(overrides or same))
        return folder / name

    return write


@pytest.fixture
def write_any_run():
    """`write_run(directory, *overrides)`, for runs on other images."""
    yield write_run
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.INFO)


@pytest.fixture
def blank_figures(monkeypatch):
    """Small blank figures instead of those of the analyses that tests evaluate with: drawing takes most of the time."""
    functions = (
        "analyses.class_distances.distances_figure", "analyses.curve_recovery.embedding_figure",
        "analyses.curve_recovery.position_figure", "analyses.label_efficiency.label_efficiency_figure",
        "analyses.representation_quality.representation_quality_figure", "compare.distances_figure",
        "compare.label_efficiency_figure",
    )  # fmt: skip
    for name in functions:
        monkeypatch.setattr(f"fewlabels.evaluation.{name}", lambda *_, **__: new_figure(1, 1))
