"""Finetuning from configuration to results: initial weights, labels, and every mistake to its message."""

import json
import logging
import re

import numpy as np
import pandas as pd
import pytest
import torch

from fewlabels.core.errors import UserError
from fewlabels.data.splits.assignment import assign

SMALL = (
    "trainer=cpu", "logger=csv", "backbone=mobilenet_v3_small", "data.size=32", "trainer.enable_progress_bar=false",
)  # fmt: skip
SHORT = ("trainer.max_epochs=2", "data.steps_per_epoch=2", "data.batch_size=8", "data.label_fraction=0.5")
NO_FIGURES = ("callbacks.preview_views=null",)


@pytest.fixture
def finetune(run, folder):
    """`finetune(name, *overrides)` finetunes on `folder` in this process; returns `tmp_path/name`."""
    return lambda name, *overrides: run(
        "finetune", name, *SMALL, *SHORT, *NO_FIGURES, f"data.root={folder}", *overrides
    )


@pytest.fixture
def pretrained(run, folder):
    """A RotNet after one step on `folder`."""
    return run(
        "pretrain", "pretrained", *SMALL, "method=rotnet", "data=flowers", f"data.root={folder}", "data.batch_size=8",
        "trainer.max_epochs=1", "trainer.limit_train_batches=1", "callbacks.preview_views=null",
        "callbacks.embedding_plots=null", "callbacks.probes=null",
    )  # fmt: skip


def test_it_starts_from_the_pretrained_backbone_and_logs_it(finetune, pretrained, caplog, weights):
    with caplog.at_level(logging.INFO, "fewlabels"):
        done = finetune("after", f"checkpoint={pretrained}", "method.backbone_lr=0")
    log = "\n".join(record.getMessage() for record in caplog.records)
    assert re.search(rf"Loaded \d+ backbone parameters .* from {pretrained}\. New: head.weight 3×\d+", log)
    before, after = weights(pretrained), weights(done)
    same = [name for name in before if name.startswith("backbone.")]
    assert len(same) > 50
    assert all(torch.equal(before[name], after[name]) for name in same)
    assert not torch.equal(after["head.weight"], torch.zeros_like(after["head.weight"]))


@pytest.mark.slow
def test_images_of_the_pretraining_are_never_tested(finetune, pretrained, caplog):
    same = finetune("same", f"checkpoint={pretrained}")
    with caplog.at_level(logging.INFO, "fewlabels"):
        more = finetune("more", f"checkpoint={pretrained}", "data.test_fraction=0.3")
    tested = [set(pd.read_csv(done / "predictions.csv")["path"]) for done in (same, more)]
    assert tested[0] == tested[1]
    assert re.search(
        rf"\d+ images of the test split are left out, because {pretrained}.* was trained on them", caplog.text
    )
    record = torch.load(more / "checkpoints" / "last.ckpt", weights_only=True)["fewlabels"]["trained_on"]
    labels = len((more / "labels.txt").read_text().split())
    assert record["samples"] == labels < len(record["digests"]), "its record includes the images of the pretraining"


def test_it_leaves_predictions_labels_and_a_confusion_matrix(finetune):
    done = finetune("after")
    table = pd.read_csv(done / "predictions.csv")
    labels = (done / "labels.txt").read_text().split()
    assert table.columns.tolist() == ["path", "class", "predicted", "confidence"]
    assert set(table["class"]) | set(table["predicted"]) <= set("abc")
    assert table["confidence"].between(1 / 3, 1).all()
    assert table["confidence"].astype(str).str.fullmatch(r"[01]\.\d{1,4}").all()
    assert not set(labels) & set(table["path"]), "a test image was used in training"
    assert (done / "figures" / "confusion.png").is_file()
    kept = torch.load(done / "checkpoints" / "last.ckpt", weights_only=True)
    assert "optimizer_states" not in kept


@pytest.mark.slow
def test_the_seed_alone_determines_the_labels_and_small_subsets_are_in_large_ones(finetune, pretrained):
    def labelled(name, *overrides):
        done = finetune(name, "seed=3", *overrides)
        return set((done / "labels.txt").read_text().split())

    scratch, after = labelled("scratch"), labelled("after", f"checkpoint={pretrained}")
    few = labelled("few", "data.label_fraction=0.1")
    assert scratch == after
    assert few < scratch


@pytest.mark.slow
def test_test_images_influence_neither_training_nor_validation_nor_the_selected_weights(
    finetune, folder, save_image, weights
):
    """After all test images were replaced, weights and validation metrics are the same."""
    settings = ("backbone=resnet18",)  # its batch norms adapt to the data within a few steps
    one = finetune("one", *settings)
    tested = pd.read_csv(one / "predictions.csv")["path"]
    assert len(tested) > 5
    for number, path in enumerate(tested):
        save_image(folder / path, 10_000 + number)
    other = finetune("other", *settings)
    for name in ("best", "last"):
        before, after = weights(one, name), weights(other, name)
        assert all(torch.equal(value, after[key]) for key, value in before.items())
    rows = [pd.read_csv(done / "metrics.csv").filter(regex="^(train|val)/(?!images)") for done in (one, other)]
    pd.testing.assert_frame_equal(*rows)
    assert not pd.read_csv(one / "predictions.csv").equals(pd.read_csv(other / "predictions.csv"))


MISTAKES = {
    "no such checkpoint": (["checkpoint=nowhere"], r"checkpoint=nowhere: there is no file"),
    "no labels": (["data.label_fraction=0"], r"data\.label_fraction=0"),
    "one class": (["data.seen=[a]"], r"needs at least 2 labelled classes, found 1"),
    "no step": (["data.steps_per_epoch=0"], r"data\.steps_per_epoch=0: give at least 1"),
    "no validation images": (["data.val_fraction=0"], r"data\.val_fraction: finetuning selects .* give 0\.1, say"),
}
MISFITS = {
    "another backbone": (["backbone=resnet18"], r"checkpoint=.*its name is mobilenet_v3_small"),
    "other channels": (["data.channels=1"], r"its channels is 3, .* same data\.channels"),
    "other normalisation": (["data.mean=[0.5]"], r"its mean is .* same data\.mean"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_remedy(finetune, tmp_path, mistake):
    overrides, message = MISTAKES[mistake]
    with pytest.raises(UserError, match=message):
        finetune("none", *overrides)
    assert not (tmp_path / "none" / "config.yaml").exists()


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_is_named_with_the_remedy(finetune, pretrained, tmp_path):
    for overrides, message in MISFITS.values():
        with pytest.raises(UserError, match=message):
            finetune("none", f"checkpoint={pretrained}", *overrides)
    assert not (tmp_path / "none" / "config.yaml").exists()


@pytest.mark.slow
def test_class_names_that_are_not_utf8_are_kept(finetune, folder, save_image):
    for number in range(30):
        save_image(folder / f"caf\udce9/{number}.png", (9, number))
    done = finetune("one")
    assert "caf\udce9/" in (done / "labels.txt").read_text(errors="surrogateescape")
    assert "caf\udce9/" in (done / "predictions.csv").read_text(errors="surrogateescape")


def paths_in(split, count):
    """So many paths of class "d" that are in a split; no other image has their file names."""
    names = (f"{number}.png" for number in range(100, 200))
    return [f"d/{name}" for name in names if assign([name], 0.1275, 0.15, 0)[0] == split][:count]


@pytest.mark.slow
def test_classes_without_held_out_images_are_named(finetune, folder, save_image, caplog):
    for number, path in enumerate(paths_in("train", 4)):
        save_image(folder / path, 1000 + number)
    with caplog.at_level(logging.WARNING, "fewlabels"):
        finetune("one")
    warnings = [record.getMessage() for record in caplog.records]
    for split in ("val", "test"):
        assert any(re.search(rf"{split}.* d\b", warning) for warning in warnings), warnings


def test_a_class_whose_only_image_is_held_out_is_named_with_the_size_that_leaves_it_out(finetune, folder, save_image):
    save_image(folder / paths_in("test", 1)[0], 1000)
    with pytest.raises(UserError, match=r"of 1 of 4 classes .*: 'd' \(1\).*data.min_class_size=2, which leaves 3"):
        finetune("none")
    finetune("without", "data.min_class_size=2")


@pytest.mark.slow
@pytest.mark.parametrize("without", ["callbacks.last=null", "callbacks.best=null", "trainer.fast_dev_run=true"])
def test_it_finishes_without_checkpoints_that_are_turned_off(finetune, without):
    done = finetune("one", without)
    assert "test/accuracy" in json.loads((done / "results.json").read_text())


@pytest.mark.slow
def test_validation_metrics_in_the_results_are_of_the_weights_that_were_tested(finetune):
    done = finetune("one", "trainer.max_epochs=4", "method.optimizer.lr=0.1")
    accuracy = pd.read_csv(done / "metrics.csv").set_index("step")["val/balanced_accuracy"].dropna()
    results = json.loads((done / "results.json").read_text())
    assert results["val/balanced_accuracy"] == accuracy.max()
    best = torch.load(done / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["global_step"] == accuracy.idxmax() + 1


@pytest.mark.slow
def test_a_finished_finetuning_cannot_be_made_longer(finetune, resume):
    finetune("one")
    with pytest.raises(UserError, match=r"finished after 2 epochs and did not keep its optimizer state"):
        resume("one", "trainer.max_epochs=4")


@pytest.mark.slow
def test_a_finetuning_killed_before_its_first_checkpoint_is_resumed_to_the_same_weights(
    finetune, resume, weights, assert_same
):
    uninterrupted = finetune("uninterrupted")
    killed = finetune("killed", "trainer.max_epochs=1")
    (killed / "results.json").unlink()
    (killed / "checkpoints" / "last.ckpt").unlink()
    resume("killed", "trainer.max_epochs=2")
    assert_same(weights(uninterrupted), weights(killed))


@pytest.mark.slow
@pytest.mark.subprocess
def test_two_processes_get_the_results_of_one(folder, script, tmp_path):
    """With a frozen backbone, both train on the same embeddings, without augmentation."""
    metrics, predictions = [], []
    deterministic = ("method.backbone_lr=0", "trainer.precision=32-true")
    for devices in (1, 2):
        settings = (f"trainer.devices={devices}", f"data.batch_size={16 // devices}", f"hydra.run.dir={devices}")
        script("finetune", f"data.root={folder}", *SMALL, *SHORT, *deterministic, *settings)
        directory = tmp_path / str(devices)
        results = json.loads((directory / "results.json").read_text())
        metrics.append({name: value for name, value in results.items() if name.startswith(("val/", "test/"))})
        predictions.append(pd.read_csv(directory / "predictions.csv"))
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-5)
    assert {"val/balanced_accuracy", "test/macro_f1"} <= metrics[0].keys()
    pd.testing.assert_frame_equal(*predictions, atol=1e-3)
    later = ("method.backbone_lr=0.1", "method.unfreeze_after=1", "trainer.devices=2", "hydra.run.dir=later")
    script("finetune", f"data.root={folder}", *SMALL, *SHORT, *later)
    frame = pd.read_csv(tmp_path / "later" / "metrics.csv")
    assert np.isfinite(frame["train/loss"].dropna()).all()
    assert len(frame["train/loss"].dropna()) == 2
