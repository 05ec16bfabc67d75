"""Resuming: exactly where a run stopped, with the same settings, and nothing else."""

import json
import os
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from fewlabels import load_backbone
from fewlabels.cli.app import compose_config
from fewlabels.core.errors import UserError
from fewlabels.sweeps.jobs import check_unchanged
from fewlabels.training.config_checks import ConfigError
from fewlabels.training.provenance import load_provenance
from fewlabels.training.resume import check_resumable, resumed_config

FIXTURE = Path(__file__).parents[1] / "fixtures" / "run-0.1"
IMAGES = (
    "method=simclr", "data=plankton", "data.size=32", "data.batch_size=16", "backbone=mobilenet_v3_small",
    "method.head.hidden=16", "trainer=cpu", "trainer.limit_train_batches=1", "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1", "callbacks.probes=null", "logger=csv", "data.unseen=null", "data.min_class_size=1",
)  # fmt: skip
POINTS = (
    "logger=csv", "trainer=cpu", "callbacks.last.every_n_epochs=1", "callbacks.best.every_n_epochs=1", "data.passes=4",
)  # fmt: skip
QUIET = ("callbacks.probes=null", "callbacks.spiral_plots=null")


def wait_for(process, text):
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"the run ended before it logged {text!r}")


@pytest.mark.slow
@pytest.mark.subprocess
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("devices", "limit", "kills"), [(1, 5, ("epoch 2/8", "epoch 5/8")), (2, "null", ("epoch 3/8",))]
)  # an epoch has 8 batches
def test_killed_and_resumed_equals_uninterrupted(
    pretrain, start_pretrain, tmp_path, weights, assert_same, devices, limit, kills
):
    options = (
        *POINTS,
        "callbacks.probes=null",
        f"trainer.devices={devices}",
        "trainer.max_epochs=8",
        f"trainer.limit_train_batches={limit}",
    )
    pretrain(*options, "hydra.run.dir=uninterrupted")
    process = start_pretrain(*options, "hydra.run.dir=killed")
    for line in kills:
        wait_for(process, line)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        process = start_pretrain("resume=killed")
    process.communicate()
    assert process.returncode == 0
    directories = [tmp_path / name for name in ("uninterrupted", "killed")]
    assert_same(*map(weights, directories))
    rows = [pd.read_csv(directory / "metrics.csv") for directory in directories]
    pd.testing.assert_frame_equal(*(table.drop(columns="train/images_per_second") for table in rows))


@pytest.mark.slow
@pytest.mark.subprocess
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "devices"), [("SIGTERM", 1), ("SIGINT", 2)])
def test_a_signal_saves_within_an_epoch_and_the_resumed_run_equals_an_uninterrupted_one(
    pretrain, start_pretrain, tmp_path, weights, assert_same, name, devices
):
    options = (*POINTS, *QUIET, "trainer.max_epochs=2", "data.passes=60", f"trainer.devices={devices}")
    pretrain(*options, "hydra.run.dir=uninterrupted")
    process = start_pretrain(*options, "hydra.run.dir=stopped")
    wait_for(process, "epoch 1/2")
    number = signal.Signals[name]
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    log = process.communicate()[0]
    assert process.returncode == 128 + number, log
    assert f"Stopped by {name}" in log
    assert "resume=" in log
    step = torch.load(tmp_path / "stopped" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert step % 120, "the signal was meant to come within an epoch"
    pretrain("resume=stopped")
    assert_same(weights(tmp_path / "uninterrupted"), weights(tmp_path / "stopped"))


def test_a_resumed_run_may_be_longer_but_keeps_its_settings(run, resume, tmp_path, weights):
    run("pretrain", "run", *POINTS, "trainer.max_epochs=1", "callbacks.spiral_plots=null")
    before = weights(tmp_path / "run")
    for change, message in (
        ("method.k=3", r"keeps its method\.k"), ("method=rotnet", "keeps its method"), ("seed=1", "keeps its seed"),
        ("trainer.max_epoch=3", r"trainer\.max_epoch"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            resume("run", change)
    resume("run", "trainer.max_epochs=2")
    assert json.loads((tmp_path / "run" / "results.json").read_text())["epochs"] == 2
    assert any(not torch.equal(before[name], value) for name, value in weights(tmp_path / "run").items())


def test_a_run_that_max_steps_or_max_time_ended_is_resumed(run, resume, tmp_path, weights, assert_same):
    options = (*POINTS, *QUIET, "trainer.max_epochs=3", "method.optimizer.schedule=constant")
    run("pretrain", "whole", *options)
    steps = torch.load(tmp_path / "whole" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    run("pretrain", "run", *options, f"trainer.max_steps={steps // 2}")
    with pytest.raises(
        UserError, match=rf"done {steps // 2} steps, and trainer\.max_steps={steps // 2}: .*={steps // 2 * 2}\."
    ):
        resume("run")
    resume("run", "trainer.max_steps=-1", "trainer.max_time=00:00:00:00")  # one step, or none
    resume("run", "trainer.max_steps=-1", "trainer.max_time=null")
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "run"))
    lines = load_provenance(tmp_path / "run")
    assert [(line["event"], line["step"]) for line in lines][:2] == [("start", 0), ("resume", steps // 2)]


def test_a_run_that_stopped_early_needs_more_epochs(tmp_path):
    state = {"wait_count": 3, "stopped_epoch": 4, "best_score": 0.0, "patience": 3}
    checkpoint = {
        "optimizer_states": [], "global_step": 50, "callbacks": {"EarlyStopping{}": state},
        "loops": {"fit_loop": {"epoch_progress": {"current": {"processed": 5}}}},
        "fewlabels": {"config": {"trainer": {"max_epochs": 100}}},
    }  # fmt: skip
    (tmp_path / "results.json").write_text('{"epochs": 5}')
    limits = {"max_steps": -1, "fingerprint": None}
    with pytest.raises(UserError, match=r"has done 5 epochs.* nothing is left to do after early stopping.*=200\."):
        check_resumable(checkpoint, tmp_path, max_epochs=100, **limits)
    check_resumable(checkpoint, tmp_path, max_epochs=200, **limits)
    state |= {"wait_count": 0, "stopped_epoch": 0}  # trainer.max_time ended it
    check_resumable(checkpoint, tmp_path, max_epochs=100, **limits)


@pytest.mark.parametrize(("text", "message"), [
    (None, r"there is no .*config\.yaml\. Give a run directory"), ("a: [b", r"config\.yaml cannot be read"),
    ("a: 1", r"is not the configuration of a run"), ("\xff", r"cannot be read"),
])  # fmt: skip
def test_a_directory_that_is_no_run_is_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "config.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=message):
        resumed_config(OmegaConf.create({"resume": str(tmp_path)}), [])


def test_a_run_directory_from_elsewhere_runs_no_foreign_code_unless_it_is_trusted(tmp_path):
    config = compose_config("logger=csv")
    OmegaConf.save(config | {"callbacks": {"mine": {"_target_": "mine.Callback"}}}, tmp_path / "config.yaml")
    cfg = OmegaConf.create({"resume": str(tmp_path)})
    with pytest.raises(UserError, match=r"config\.yaml names _target_: mine\.Callback.*trust=\[mine\]"):
        resumed_config(cfg, [])
    assert resumed_config(cfg, ["trust=[mine]"]).callbacks.mine._target_ == "mine.Callback"
    cfg.callbacks = {"mine": {"_target_": "mine.Callback"}}  # conf/ names it too, as in a sweep that is resumed
    assert resumed_config(cfg, []).seed == 0


def contents(directory):
    files = (path for path in directory.rglob("*") if path.is_file() and path.name != "run.log")
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_run_that_is_finished_or_damaged_or_lost_its_images_is_left_unchanged(run, resume, tmp_path):
    for number in range(60):
        file = tmp_path / "images" / f"class{number % 2}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 30), number).save(file)
    run("pretrain", "run", *IMAGES, f"data.root={tmp_path / 'images'}", "trainer.max_epochs=2")  # fmt: skip
    before = contents(tmp_path / "run")
    for epochs in (1, 2):
        message = rf"has done 2 epochs, and trainer\.max_epochs={epochs}: nothing is left to do\. .*max_epochs=4"
        with pytest.raises(UserError, match=message):
            resume("run", f"trainer.max_epochs={epochs}")
    file.rename(file.with_name("other.png"))
    with pytest.raises(UserError, match="the images are not those that the run was started with"):
        resume("run", "trainer.max_epochs=3")
    file.with_name("other.png").rename(file)
    assert contents(tmp_path / "run") == before

    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    before = contents(tmp_path / "run")
    with pytest.raises(UserError, match=r"last\.ckpt is no checkpoint, or is damaged.*In the same folder: best\.ckpt"):
        resume("run", "trainer.max_epochs=3")
    last.rename(last.with_name("third.ckpt"))
    with pytest.raises(UserError, match=r"last\.ckpt is missing, though other checkpoints exist\. Restore it"):
        resume("run", "trainer.max_epochs=3")
    last.with_name("third.ckpt").rename(last)
    assert contents(tmp_path / "run") == before


def test_a_run_killed_before_it_wrote_its_results_writes_them_when_resumed(run, resume, tmp_path, weights, assert_same):
    run("pretrain", "run", *POINTS, "trainer.max_epochs=2")
    before, results = weights(tmp_path / "run"), json.loads((tmp_path / "run" / "results.json").read_text())
    (tmp_path / "run" / "results.json").unlink()
    resume("run")
    assert_same(before, weights(tmp_path / "run"))
    written = json.loads((tmp_path / "run" / "results.json").read_text())
    for name in ("test/spearman", "epochs", "seed"):
        assert written[name] == results[name], name


def test_a_run_that_was_moved_keeps_its_best_checkpoint(run, resume, tmp_path):
    run("pretrain", "before", *POINTS, "callbacks.best.mode=max", "callbacks.probes=null", "trainer.max_epochs=3",
        "callbacks.spiral_plots=null")  # fmt: skip
    (tmp_path / "before").rename(tmp_path / "moved")
    resume("moved", "trainer.max_epochs=4")
    losses = pd.read_csv(tmp_path / "moved" / "metrics.csv")["val/loss"].dropna()
    assert losses.iloc[-1] < losses.max(), "the last epoch was meant not to be chosen"
    best = torch.load(tmp_path / "moved" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == losses.reset_index(drop=True).idxmax()


@pytest.fixture
def old_run(tmp_path):
    """A copy of a run of version 0.1: a network of 105 weights on spirals, 4 epochs."""
    return shutil.copytree(FIXTURE, tmp_path / "old")


def test_the_backbone_of_version_0_1_is_loaded(old_run):
    saved = torch.load(old_run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    loaded = load_backbone(old_run).state_dict()
    assert len(loaded) == 6
    assert all(torch.equal(value, saved[f"backbone.{name}"]) for name, value in loaded.items())


def test_a_run_of_version_0_1_is_resumed(old_run, resume):
    before = pd.read_csv(old_run / "metrics.csv")
    resume("old", "trainer.max_epochs=6", "callbacks.spiral_plots=null")
    after = pd.read_csv(old_run / "metrics.csv")
    kept = [name for name in before if not name.startswith("test/")]
    pd.testing.assert_frame_equal(after.loc[:3, kept], before.loc[:3, kept])
    assert after["train/loss"].notna().sum() == 6
    assert after["train/loss"].dropna().iloc[-1] < before["train/loss"].dropna().iloc[0]
    results = json.loads((old_run / "results.json").read_text())
    assert results["epochs"] == 6
    for name in ("val/knn_accuracy_untrained", "val/linear_accuracy_untrained"):
        assert results[name] == pytest.approx(before[name].dropna().item()), name
    config = OmegaConf.load(old_run / "config.yaml")
    assert (config.trainer.max_epochs, config.method.name, config.data.modality) == (6, "siamese", "points")


def test_a_job_of_version_0_1_is_the_job_of_the_same_command_line(old_run):
    now = OmegaConf.create(compose_config("logger=csv", "backbone.hidden=[8,8]", "trainer.max_epochs=4"))
    check_unchanged(now, old_run)
    now.backbone.hidden = [8]
    with pytest.raises(UserError, match=r"started with backbone\.hidden=\[8, 8\]; .* now means backbone\.hidden=\[8\]"):
        check_unchanged(now, old_run)


@pytest.mark.slow
@pytest.mark.subprocess
@pytest.mark.timeout(600)
def test_a_sweep_of_version_0_1_is_accepted_by_the_same_command_line(old_run, pretrain, tmp_path):
    overrides = ["logger=csv", "backbone.hidden=[8,8]", "trainer.max_epochs=4", "seed=0"]
    (tmp_path / "sweep").mkdir()
    old_run.rename(tmp_path / "sweep" / "0")
    (tmp_path / "sweep" / "0" / "job.json").write_text(json.dumps({"overrides": overrides, "error": ""}))
    before = contents(tmp_path / "sweep" / "0")
    done = pretrain("-m", *overrides[:-1], "seed=0,1", "hydra.sweep.dir=sweep")
    assert done.stdout.count("Already finished, skipped") == 1
    assert contents(tmp_path / "sweep" / "0") == before
    table = pd.read_csv(tmp_path / "sweep" / "sweep.csv")
    assert table["state"].tolist() == ["finished"] * 2
    assert table["test/spearman"][0] == pytest.approx(0.3283045)


@pytest.mark.slow
@pytest.mark.subprocess
@pytest.mark.timeout(600)
def test_a_run_of_version_0_1_is_evaluated(old_run, script):
    script("evaluate", "run=old")
    results = json.loads((old_run / "results.json").read_text())
    assert {"test/spearman", "test/spearman_untrained", "epochs"} <= results.keys()
    assert (old_run / "report.html").is_file()
