"""A run from start to end: what it leaves behind, and which weights are tested."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

import offline
from fewlabels import load_backbone
from fewlabels.core.checkpoints import read_checkpoint
from fewlabels.core.errors import UserError
from fewlabels.data.splits.training_record import TrainingRecord
from fewlabels.methods.simclr import SimCLR
from fewlabels.methods.size_schedule import SizeSchedule

TINY = (
    "method=simclr", "data=flowers", "data.source=synthetic", "data.size=32", "data.batch_size=16",
    "backbone=mobilenet_v3_small", "method.head.hidden=16", "trainer=cpu", "trainer.limit_train_batches=2",
    "trainer.limit_val_batches=1", "trainer.limit_test_batches=1", "callbacks.probes.max_samples=40",
)  # fmt: skip
POINTS = (
    "logger=csv", "trainer=cpu", "callbacks.last.every_n_epochs=1", "callbacks.best.every_n_epochs=1", "data.passes=4",
)  # fmt: skip
QUIET = ("callbacks.probes=null", "callbacks.spiral_plots=null")


@pytest.mark.slow
@pytest.mark.subprocess
def test_a_run_on_images_leaves_a_complete_directory(pretrain, tmp_path):
    done = pretrain(*TINY, "trainer.max_epochs=2", "logger=wandb", "hydra.run.dir=run")
    run = tmp_path / "run"
    assert Path(done.stdout.splitlines()[-1]) == run
    assert "SYNTHETIC" in done.stdout
    assert "Warning" not in done.stdout + done.stderr
    files = {
        "config.yaml",
        "metrics.csv",
        "provenance.jsonl",
        "results.json",
        "run.log",
        "checkpoints",
        "figures",
        "wandb",
    }
    assert {path.name for path in run.iterdir()} == files
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    assert (run / "figures" / "views.png").stat().st_size > 10_000
    results = json.loads((run / "results.json").read_text())
    for name in ("val/loss", "val/loss_chance", "val/knn_accuracy", "val/knn_accuracy_untrained", "epochs", "seed"):
        assert isinstance(results[name], int | float), name
    assert results["epochs"] == 2
    assert pd.read_csv(run / "metrics.csv")["train/loss"].notna().sum() == 2
    assert offline.summary(run)["codes"] == [0]

    backbone = load_backbone(run)
    assert (backbone.size, backbone.channels, backbone.training) == (32, 3, False)
    assert backbone(backbone.normalise(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))).shape == (2, backbone.dim)


def test_the_last_checkpoint_is_of_the_last_epoch_even_if_an_earlier_was_better(run):
    directory = run(
        "pretrain", "run", *POINTS, "callbacks.best.mode=max",  # the first epoch's loss stays the highest
        "trainer.max_epochs=3", "callbacks.last.every_n_epochs=2", "callbacks.spiral_plots=null",
    )  # fmt: skip
    epochs = {
        name: torch.load(directory / "checkpoints" / f"{name}.ckpt", weights_only=True)["epoch"]
        for name in ("best", "last")
    }
    assert epochs == {"best": 0, "last": 2}


def test_results_hold_the_last_value_of_every_metric(run):
    directory = run("pretrain", "run", *POINTS, "trainer.max_epochs=2", "seed=3", "callbacks.probes=null")
    rows = pd.read_csv(directory / "metrics.csv")
    results = json.loads((directory / "results.json").read_text())
    for name in ("train/loss", "val/loss", "test/spearman", "train/images_per_second"):
        assert results[name] == pytest.approx(rows[name].dropna().iloc[-1]), name
    assert (results["epochs"], results["seed"]) == (2, 3)
    assert results["seconds"] > 0


def test_without_test_samples_there_are_no_test_metrics(run):
    directory = run("pretrain", "run", *POINTS, "trainer.max_epochs=1", *QUIET, "data.test_fraction=0")
    results = json.loads((directory / "results.json").read_text())
    assert not [name for name in results if name.startswith("test/")]
    assert "val/loss" in results


def test_a_failed_training_leaves_its_metrics_and_no_results(run, monkeypatch, tmp_path):
    from fewlabels.methods.siamese import Siamese

    def fail(self, *_):
        if self.current_epoch == 1:
            raise RuntimeError("on purpose")

    monkeypatch.setattr(Siamese, "on_train_batch_start", fail, raising=False)
    with pytest.raises(RuntimeError, match="on purpose"):
        run("pretrain", "run", *POINTS, *QUIET, "trainer.max_epochs=2")
    assert (tmp_path / "run" / "metrics.csv").is_file()
    assert not (tmp_path / "run" / "results.json").exists()


def test_a_batch_that_the_method_cannot_use_is_refused_before_anything_is_written(run, tmp_path):
    with pytest.raises(UserError, match=r"data\.batch_size=400 on 1 device\(s\) needs 400 samples"):
        run("pretrain", "run", *POINTS, "data.batch_size=400", "data.passes=1")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.subprocess
def test_the_offline_runs_of_a_sweep_are_finished_and_in_one_group(pretrain, tmp_path):
    pretrain("-m", *POINTS, "logger=wandb", "seed=0,1,2", "trainer.max_epochs=1", "hydra.sweep.dir=runs/sweeps/mine")
    held = [offline.summary(tmp_path / "runs" / "sweeps" / "mine" / str(job)) for job in range(3)]
    assert [each["codes"] for each in held] == [[0]] * 3
    assert [each["config"]["seed"] for each in held] == [0, 1, 2]
    runs = [each["runs"][0] for each in held]
    assert {run.run_group for run in runs} == {"mine"}
    assert len({run.run_id for run in runs}) == 3
    assert [run.display_name for run in runs] == ["seed=0", "seed=1", "seed=2"]


def test_no_epochs_leave_the_initial_network_as_a_run_that_can_be_trained(run, resume, folder):
    images = (
        "method=simclr", "data=images", f"data.root={folder}", "data.size=32", "data.batch_size=16", "trainer=cpu",
        "backbone=mobilenet_v3_small", "method.head.hidden=16", "trainer.limit_train_batches=1", "logger=csv",
        "callbacks.probes=null", "callbacks.preview_views=null", "callbacks.embedding_plots=null",
    )  # fmt: skip
    directory = run("pretrain", "initial", *images, "trainer.max_epochs=0")
    assert {path.name for path in directory.iterdir()} >= {"config.yaml", "results.json", "provenance.jsonl"}
    assert json.loads((directory / "results.json").read_text()) == {"epochs": 0, "seconds": 0.0, "seed": 0}
    checkpoint, _ = read_checkpoint(directory)
    assert TrainingRecord.read(checkpoint["fewlabels"]["trained_on"]).samples == 0
    initial = load_backbone(directory).state_dict()

    other = run("pretrain", "other", *images, "trainer.max_epochs=0")
    assert all(torch.equal(value, initial[name]) for name, value in load_backbone(other).state_dict().items())
    trained = resume("initial", "trainer.max_epochs=1")
    assert any(not torch.equal(value, initial[name]) for name, value in load_backbone(trained).state_dict().items())
    record = TrainingRecord.read(read_checkpoint(trained)[0]["fewlabels"]["trained_on"])
    assert record.samples > 50


def test_training_images_grow_with_the_size_schedule(run, folder, monkeypatch):
    seen = []
    step = SimCLR.step

    def record(self, batch, generator):
        seen.append((self.training, batch.x.shape[-1]))
        return step(self, batch, generator)

    monkeypatch.setattr(SimCLR, "step", record)
    finished = []
    monkeypatch.setattr(SizeSchedule, "finish", lambda self, data, device: finished.append(len(seen)))
    run(
        "pretrain", "grow", "method=simclr", "data=images", f"data.root={folder}", "data.size=32", "data.batch_size=16",
        "data.size_schedule=[16,24]", "trainer=cpu", "backbone=mobilenet_v3_small", "method.head.hidden=16",
        "trainer.limit_train_batches=2", "trainer.limit_val_batches=1", "trainer.max_epochs=2", "logger=csv",
        "callbacks.probes=null", "callbacks.preview_views=null", "callbacks.embedding_plots=null",
    )  # fmt: skip
    assert [size for training, size in seen if training] == [16, 16, 24, 24]
    assert {size for training, size in seen if not training} == {32}
    assert finished == [5]  # after the last step, before the last validation
