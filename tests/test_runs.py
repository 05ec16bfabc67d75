"""Whole runs from the command line: what they leave behind, how they end, and how they go on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

import offline

ROOT = Path(__file__).parents[1]
TINY = (
    "method=simclr", "data=flowers", "data.source=synthetic", "data.size=32", "data.batch_size=16",
    "backbone=mobilenet_v3_small", "method.head.hidden=16", "trainer=cpu", "trainer.limit_train_batches=2",
    "trainer.limit_val_batches=1", "trainer.limit_test_batches=1", "callbacks.probes.max_samples=40", "logger=csv",
)  # fmt: skip
POINTS = (
    "logger=csv",
    "trainer=cpu",
    "callbacks.last.every_n_epochs=1",
    "callbacks.best.every_n_epochs=1",
    "data.passes=4",
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return os.environ | {
        "FEWLABELS_CACHE": str(tmp_path_factory.mktemp("cache")), "PYTHONPATH": str(ROOT / "tests"),
        "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1",
    }  # fmt: skip


@pytest.fixture
def pretrain(tmp_path, environment):
    def run(*overrides, code=0):
        command = [sys.executable, str(ROOT / "src" / "pretrain.py"), *overrides]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    run.start = lambda *overrides: subprocess.Popen(
        [sys.executable, str(ROOT / "src" / "pretrain.py"), *overrides],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
        start_new_session=True,
    )  # fmt: skip
    return run


def weights(directory):
    return torch.load(Path(directory) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def wait_for(process, text):
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"the run ended before it said {text!r}")


def test_a_run_on_images_leaves_what_it_should(pretrain, tmp_path):
    done = pretrain(*TINY, "trainer.max_epochs=2", "logger=wandb", "hydra.run.dir=run")
    run = tmp_path / "run"
    assert Path(done.stdout.splitlines()[-1]) == run
    assert "SYNTHETIC" in done.stdout
    assert "Warning" not in done.stdout + done.stderr
    wanted = {"config.yaml", "metrics.csv", "results.json", "run.log", "checkpoints", "figures", "wandb"}
    assert {path.name for path in run.iterdir()} == wanted
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    assert (run / "figures" / "views.png").stat().st_size > 10_000
    results = json.loads((run / "results.json").read_text())
    for name in ("val/loss", "val/loss_chance", "val/knn_accuracy", "val/knn_accuracy_untrained", "epochs", "seed"):
        assert isinstance(results[name], int | float), name
    assert results["epochs"] == 2
    assert pd.read_csv(run / "metrics.csv")["train/loss"].notna().sum() == 2

    from fewlabels import load_backbone

    backbone = load_backbone(run)
    assert (backbone.size, backbone.channels, backbone.training) == (32, 3, False)
    assert backbone(backbone.normalise(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))).shape == (2, backbone.dim)


def test_the_last_checkpoint_is_of_the_last_epoch_however_bad(pretrain, tmp_path):
    worst = "callbacks.best.mode=max"  # the first epoch's loss stays the highest
    pretrain(*POINTS, worst, "trainer.max_epochs=3", "callbacks.last.every_n_epochs=2", "hydra.run.dir=run")
    saved = {
        name: torch.load(tmp_path / "run" / "checkpoints" / f"{name}.ckpt", weights_only=True)["epoch"]
        for name in ("best", "last")
    }
    assert saved == {"best": 0, "last": 2}


def test_a_sweeps_offline_runs_are_finished_and_in_one_group(pretrain, tmp_path):
    pretrain("-m", *POINTS, "logger=wandb", "seed=0,1,2", "trainer.max_epochs=1", "hydra.sweep.dir=runs/sweeps/mine")
    held = [offline.summary(tmp_path / "runs" / "sweeps" / "mine" / str(job)) for job in range(3)]
    assert [each["codes"] for each in held] == [[0]] * 3
    assert [each["config"]["seed"] for each in held] == [0, 1, 2]
    known = [each["runs"][0] for each in held]
    assert {run.run_group for run in known} == {"mine"}
    assert len({run.run_id for run in known}) == 3
    assert [run.display_name for run in known] == ["seed=0", "seed=1", "seed=2"]


def test_a_run_is_never_overwritten(pretrain, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    done = pretrain("hydra.run.dir=run", code=1)
    assert "never overwritten" in done.stderr


@pytest.mark.parametrize(("devices", "limit"), [(1, 5), (2, "null")])  # of 8 batches in an epoch
def test_killed_and_resumed_equals_uninterrupted(pretrain, tmp_path, devices, limit):
    options = (*POINTS, f"trainer.devices={devices}", "trainer.max_epochs=8", f"trainer.limit_train_batches={limit}")
    pretrain(*options, "hydra.run.dir=whole")
    process = pretrain.start(*options, "hydra.run.dir=broken")
    for said in ("epoch 2/8", "epoch 5/8"):
        wait_for(process, said)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process = pretrain.start("resume=broken")
    process.communicate()
    assert process.returncode == 0
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    whole, broken = (pd.read_csv(tmp_path / name / "metrics.csv") for name in ("whole", "broken"))
    pd.testing.assert_frame_equal(*(frame.drop(columns="train/images_per_second") for frame in (whole, broken)))


@pytest.mark.parametrize(("name", "devices"), [("SIGTERM", 1), ("SIGINT", 2)])
def test_a_signal_saves_in_mid_epoch_and_the_rest_is_the_same(pretrain, tmp_path, name, devices):
    options = (*POINTS, "trainer.max_epochs=3", "data.passes=60", f"trainer.devices={devices}")
    pretrain(*options, "hydra.run.dir=whole")
    process = pretrain.start(*options, "hydra.run.dir=broken")
    wait_for(process, "epoch 1/3")
    number = signal.Signals[name]
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    said = process.communicate()[0]
    assert process.returncode == 128 + number, said
    assert "resume=" in said
    step = torch.load(tmp_path / "broken" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert step % 120, "the signal was to come in the middle of an epoch"
    pretrain("resume=broken")
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


def test_a_resumed_run_may_go_on_for_longer_but_stays_itself(pretrain, tmp_path):
    pretrain(*POINTS, "trainer.max_epochs=1", "hydra.run.dir=run")
    before = weights(tmp_path / "run")
    for change, said in (("method.k=3", "keeps its method.k"), ("method=rotnet", "keeps its method")):
        assert said in pretrain("resume=run", change, code=1).stderr
    assert "2 epochs" in pretrain("resume=run", "trainer.max_epochs=2").stdout
    assert any(not torch.equal(before[name], value) for name, value in weights(tmp_path / "run").items())


def contents(directory):
    files = (path for path in directory.rglob("*") if path.is_file() and path.name != "run.log")
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_run_that_is_finished_or_damaged_or_lost_its_images_is_left_as_it_is(pretrain, tmp_path):
    images = ("data.source=folder", "data.root=images", "data.unseen=null", "data.min_class_size=1")
    for number in range(60):
        file = tmp_path / "images" / f"class{number % 2}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 30), number).save(file)
    pretrain(*TINY, "data=plankton", *images, "trainer.max_epochs=2", "trainer.limit_train_batches=1",
             "hydra.run.dir=run")  # fmt: skip
    before = contents(tmp_path / "run")
    for epochs in (1, 2):
        said = pretrain("resume=run", f"trainer.max_epochs={epochs}", code=1).stderr
        assert f"has done 2 epochs, and trainer.max_epochs={epochs}: nothing is left" in said
        assert "such as trainer.max_epochs=4" in said
    file.rename(file.with_name("other.png"))
    said = pretrain("resume=run", "trainer.max_epochs=3", code=1).stderr
    assert "the images are not those that the run began with" in said
    assert contents(tmp_path / "run") == before
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    before = contents(tmp_path / "run")
    said = pretrain("resume=run", "trainer.max_epochs=3", code=1).stderr
    assert "last.ckpt is no checkpoint, or is damaged" in said
    assert "Beside it: best.ckpt" in said
    assert "Traceback" not in said
    assert contents(tmp_path / "run") == before


def test_a_run_killed_before_its_last_words_says_them_when_resumed(pretrain, tmp_path):
    pretrain(*POINTS, "trainer.max_epochs=2", "hydra.run.dir=run")
    before, results = weights(tmp_path / "run"), json.loads((tmp_path / "run" / "results.json").read_text())
    (tmp_path / "run" / "results.json").unlink()
    pretrain("resume=run")
    assert_same(before, weights(tmp_path / "run"))
    again = json.loads((tmp_path / "run" / "results.json").read_text())
    for name in ("test/spearman", "epochs", "seed"):
        assert again[name] == results[name], name


def test_a_sweep_on_two_processes_gives_every_job_its_own_values_and_a_failure_stays_alone(pretrain, tmp_path):
    witness = ("+callbacks.witness._target_=witness.Witness", "+callbacks.witness.fail_at=0.5")
    done = pretrain(
        "-m", *TINY, *witness, "trainer.max_epochs=1", "trainer.devices=2", "method.temperature=0.5,0.1",
        "data.batch_size=8,16", "hydra.sweep.dir=sweep", code=1,
    )  # fmt: skip
    given = set()
    for job in range(4):
        run = tmp_path / "sweep" / str(job)
        config = OmegaConf.load(run / "config.yaml")
        temperature, batch_size = config.method.temperature, config.data.batch_size
        given.add((temperature, batch_size))
        for rank in (0, 1):
            seen = json.loads((run / f"rank{rank}.json").read_text())
            assert seen == {"temperature": temperature, "batch_size": batch_size}
        log = (run / "run.log").read_text()
        failed = temperature == 0.5
        assert ("ValueError: the witness was told to fail" in log) == failed
        assert (run / "results.json").exists() != failed
        if not failed:
            config = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["fewlabels"]["config"]
            assert (config["method"]["temperature"], config["data"]["batch_size"]) == (temperature, batch_size)
    assert given == {(0.5, 8), (0.5, 16), (0.1, 8), (0.1, 16)}
    assert "Rank 1 failed" in done.stdout
