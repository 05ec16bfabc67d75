"""Finetuning from configuration to results: where it begins, what it may see, and every mistake to its message."""

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fewlabels.application import configuration
from fewlabels.errors import UserError
from fewlabels.experiment import train

ROOT = Path(__file__).parents[1]
SMALL = (
    "trainer=cpu",
    "logger=csv",
    "backbone=mobilenet_v3_small",
    "data.size=32",
    "trainer.enable_progress_bar=false",
)
SHORT = ("trainer.max_epochs=2", "data.steps_per_epoch=2", "data.batch_size=8", "data.label_fraction=0.5")


def picture(file, seed):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)).save(file)


@pytest.fixture
def folder(tmp_path):
    for label, name in enumerate("abc"):
        for number in range(30):
            picture(tmp_path / f"images/{name}/{number}.png", (label, number))
    return tmp_path / "images"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Compose and train in this process."""
    monkeypatch.setenv("FEWLABELS_CACHE", str(tmp_path / "cache"))

    def call(script, name, *overrides):
        train(configuration(*SMALL, *overrides, script=script), tmp_path / name)
        return tmp_path / name

    yield call
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.INFO)


@pytest.fixture
def pretrained(run, folder):
    return run("pretrain", "before", "method=rotnet", "data=flowers", f"data.root={folder}", "data.batch_size=8",
               "trainer.max_epochs=1", "trainer.limit_train_batches=1")  # fmt: skip


def weights(directory, name="last"):
    return torch.load(directory / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def test_it_begins_with_the_pretrained_backbone_and_says_so(run, folder, pretrained, caplog):
    with caplog.at_level(logging.INFO, "fewlabels"):
        done = run(
            "finetune", "after", f"data.root={folder}", f"checkpoint={pretrained}", "method.backbone_lr=0", *SHORT
        )
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert re.search(rf"Loaded from {pretrained}: \d+ parameters of the backbone.*Fresh: head.weight 3×\d+", said)
    before, after = weights(pretrained), weights(done)
    same = [name for name in before if name.startswith("backbone.")]
    assert all(torch.equal(before[name], after[name]) for name in same)
    assert not torch.equal(after["head.weight"], torch.zeros_like(after["head.weight"]))


def test_it_leaves_answers_labels_and_a_confusion(run, folder):
    done = run("finetune", "after", f"data.root={folder}", *SHORT)
    table = pd.read_csv(done / "predictions.csv")
    labels = (done / "labels.txt").read_text().split()
    assert set(table["class"]) <= set("abc")
    assert table["confidence"].between(1 / 3, 1).all()
    assert table["confidence"].astype(str).str.fullmatch(r"[01]\.\d{1,4}").all()
    assert not set(labels) & set(table["path"]), "a test image was taught"
    assert (done / "figures" / "confusion.png").is_file()
    kept = torch.load(done / "checkpoints" / "last.ckpt", weights_only=True)
    assert "optimizer_states" not in kept


def test_the_same_seed_draws_the_same_labels_whatever_the_start_and_small_ones_lie_in_large(run, folder, pretrained):
    def taught(name, *overrides):
        done = run("finetune", name, f"data.root={folder}", *SHORT, "seed=3", *overrides)
        return set((done / "labels.txt").read_text().split())

    scratch, after = taught("scratch"), taught("after", f"checkpoint={pretrained}")
    few = taught("few", "data.label_fraction=0.1")
    assert scratch == after
    assert few < scratch


def test_no_test_image_reaches_training_validation_or_the_choice_of_the_best(run, folder):
    """Other pixels in all test images, and not a weight or a validation metric changes."""
    asked = (f"data.root={folder}", *SHORT, "backbone=resnet18")  # whose norms follow the data within a few steps
    one = run("finetune", "one", *asked)
    tested = pd.read_csv(one / "predictions.csv")["path"]
    assert len(tested) > 5
    for number, path in enumerate(tested):
        picture(folder / path, 10_000 + number)
    other = run("finetune", "other", *asked)
    for name in ("best", "last"):
        before, after = weights(one, name), weights(other, name)
        assert all(torch.equal(value, after[key]) for key, value in before.items())
    rows = [pd.read_csv(done / "metrics.csv").filter(regex="^(train|val)/(?!images)") for done in (one, other)]
    pd.testing.assert_frame_equal(*rows)
    assert not pd.read_csv(one / "predictions.csv").equals(pd.read_csv(other / "predictions.csv"))


MISTAKES = {
    "another backbone": (
        ["checkpoint={pretrained}", "backbone=resnet18"],
        r"checkpoint=.*its name is mobilenet_v3_small",
    ),
    "other channels": (["checkpoint={pretrained}", "data.channels=1"], r"its channels is 3, .* same data\.channels"),
    "other colours": (["checkpoint={pretrained}", "data.mean=[0.5]"], r"its mean is .* same data\.mean"),
    "no such checkpoint": (["checkpoint=nowhere"], r"checkpoint=nowhere: there is no file"),
    "no labels at all": (["data.label_fraction=0"], r"data\.label_fraction=0"),
    "one class": (["data.seen=[a]"], r"nothing to tell: 1 labelled class"),
    "no step": (["data.steps_per_epoch=0"], r"data\.steps_per_epoch=0: give at least 1"),
    "what was pretrained on is tested": (
        ["checkpoint={pretrained}", "data.test_fraction=0.3"],
        r"data\.test_fraction=0\.3: .* same images with 0\.15, .* Give data\.test_fraction=0\.15",
    ),
    "nothing to choose by": (["data.val_fraction=0"], r"data\.val_fraction: .* give some, such as 0\.1"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_its_key(run, folder, pretrained, tmp_path, mistake):
    overrides, message = MISTAKES[mistake]
    with pytest.raises(UserError, match=message):
        run("finetune", "none", f"data.root={folder}", *SHORT, *(o.format(pretrained=pretrained) for o in overrides))
    assert not (tmp_path / "none" / "config.yaml").exists()


def test_after_pretraining_the_head_goes_ahead_and_the_backbone_follows_slowly(tmp_path):
    def asked(*overrides):
        method = configuration(*SMALL, *overrides, script="finetune")["method"]
        return method["backbone_lr"], method["unfreeze_after"]

    assert asked() == (1.0, 0)
    for method, expected in ("simclr", (0.1, 10)), ("rotnet", (1.0, 0)), ("siamese", (0.3, 10)):
        (tmp_path / "config.yaml").write_text(f"method: {{called: {method}}}")
        assert asked(f"checkpoint={tmp_path}") == asked(f"checkpoint={tmp_path}/checkpoints/last.ckpt") == expected
    assert asked("checkpoint=somewhere") == asked("backbone.weights=imagenet") == (0.3, 10)
    assert asked("checkpoint=somewhere", "trainer.max_epochs=4") == (0.3, 1)
    assert asked("checkpoint=somewhere", "method.backbone_lr=0.5", "method.unfreeze_after=2") == (0.5, 2)


REFUSED = {
    "method.unfreeze_after=9": "method.unfreeze_after=9 of trainer.max_epochs=9: the backbone would never learn",
    "method.unfreeze_after=x": "method.unfreeze_after=x: give a number of epochs",
    "checkpoint=": "checkpoint=: give a run directory or a .ckpt file to begin with, or checkpoint=null",
    "checkpoint=5": "checkpoint=5: give a run directory or a .ckpt file to begin with, or checkpoint=null",
    "trainer.limit_val_batches=0": "trainer.limit_val_batches=0: finetuning chooses its weights on validation images",
    "trainer.check_val_every_n_epoch=10": "has to look at them at least once",
}


@pytest.mark.parametrize("setting", REFUSED)
def test_what_could_not_end_well_is_refused_before_it_begins(tmp_path, setting):
    command = [sys.executable, str(ROOT / "src" / "finetune.py"), setting, "trainer.max_epochs=9"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert REFUSED[setting] in done.stderr
    assert "Traceback" not in done.stderr
    assert not any(tmp_path.iterdir())


def test_names_that_are_no_utf8_come_through(run, folder):
    for number in range(30):
        picture(folder / f"caf\udce9/{number}.png", (9, number))
    done = run("finetune", "one", f"data.root={folder}", *SHORT)
    assert "caf\udce9/" in (done / "labels.txt").read_text(errors="surrogateescape")


def test_classes_without_held_out_images_are_named(run, folder, caplog):
    from fewlabels.data.splits import assign

    taught = [f"d/{number}.png" for number in range(99) if assign([f"d/{number}.png"], 0.1275, 0.15)[0] == "train"][:4]
    for number, path in enumerate(taught):
        picture(folder / path, number)
    with caplog.at_level(logging.WARNING, "fewlabels"):
        run("finetune", "one", f"data.root={folder}", *SHORT)
    said = [record.getMessage() for record in caplog.records]
    assert {f"No {split} image is of d: no {split} figure is of them." for split in ("val", "test")} <= {*said}


def test_a_class_whose_images_are_all_held_out_is_named(run, folder):
    from fewlabels.data.splits import assign

    held = [f"d/{number}.png" for number in range(99) if assign([f"d/{number}.png"], 0.1275, 0.15)[0] == "test"][:3]
    for number, path in enumerate(held):
        picture(folder / path, number)
    with pytest.raises(UserError, match="No training image of the class 'd' is labelled"):
        run("finetune", "none", f"data.root={folder}", *SHORT)


@pytest.mark.parametrize("without", ["callbacks.last=null", "callbacks.best=null", "trainer.fast_dev_run=true"])
def test_it_ends_without_a_checkpoint_that_was_not_asked_for(run, folder, without):
    done = run("finetune", "one", f"data.root={folder}", *SHORT, without)
    assert "test/accuracy" in json.loads((done / "results.json").read_text())


def test_what_validation_said_is_of_the_weights_that_were_tested(run, folder):
    done = run("finetune", "one", f"data.root={folder}", *SHORT, "trainer.max_epochs=4", "method.optimizer.lr=0.1")
    said = pd.read_csv(done / "metrics.csv").set_index("step")["val/balanced_accuracy"].dropna()
    results = json.loads((done / "results.json").read_text())
    assert results["val/balanced_accuracy"] == said.max()
    best = torch.load(done / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["global_step"] == said.idxmax() + 1


def test_one_that_has_ended_is_not_made_longer(run, folder):
    done = run("finetune", "one", f"data.root={folder}", *SHORT)
    config = configuration(*SMALL, f"data.root={folder}", *SHORT, "trainer.max_epochs=4", script="finetune")
    with pytest.raises(UserError, match="does not keep its optimiser's state"):
        train(config | {"resume": str(done)}, done)


def test_stopped_before_its_results_it_ends_with_the_same(run, folder):
    whole = run("finetune", "whole", f"data.root={folder}", *SHORT)
    config = configuration(*SMALL, f"data.root={folder}", *SHORT, script="finetune")
    stopped = run(
        "finetune", "stopped", f"data.root={folder}", *SHORT, "trainer.max_epochs=1", "callbacks.last.every_n_epochs=1"
    )
    (stopped / "results.json").unlink()
    (
        stopped / "checkpoints" / "last.ckpt"
    ).unlink()  # as if it had been killed before the first that it could go on from
    train(config | {"resume": str(stopped)}, stopped)
    expected = weights(whole)
    assert all(torch.equal(value, expected[name]) for name, value in weights(stopped).items())


def test_two_processes_find_what_one_finds(folder, tmp_path):
    """With a backbone that stands still and images as they are, both learn from the same batches."""
    found, answers = [], []
    still = ("method.backbone_lr=0", "method.views.scale=[1.0,1.0]", "+method.views.ratio=[1.0,1.0]",
             "+method.views.horizontal_flip=0",
             *(f"method.views.{name}=0" for name in ("brightness", "contrast", "saturation")))  # fmt: skip
    for devices in (1, 2):
        command = [sys.executable, str(ROOT / "src" / "finetune.py"), "data=flowers", f"data.root={folder}", *SMALL,
                   *SHORT, *still, "trainer.precision=32-true", f"trainer.devices={devices}",
                   f"data.batch_size={16 // devices}", f"hydra.run.dir={devices}"]  # fmt: skip
        environment = os.environ | {"OMP_NUM_THREADS": "1", "FEWLABELS_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr
        directory = tmp_path / str(devices)
        results = json.loads((directory / "results.json").read_text())
        found.append({name: value for name, value in results.items() if name.startswith(("val/", "test/"))})
        answers.append(pd.read_csv(directory / "predictions.csv"))
    assert found[0] == pytest.approx(found[1], abs=1e-5)
    assert {"val/balanced_accuracy", "test/macro_f1"} <= found[0].keys()
    pd.testing.assert_frame_equal(*answers, atol=1e-3)
