"""Weights & Biases runs, read back from what an offline run writes."""

import sys
from pathlib import Path

import pandas as pd
import pytest
import wandb
from PIL import Image

import offline
from fewlabels.training import wandb_runs
from fewlabels.training.loggers import MetricsCSV
from fewlabels.training.wandb_runs import (
    amend_wandb_run,
    finish_loggers,
    log_checkpoint,
    wandb_logger,
    wandb_mode,
)


def test_a_failed_job_still_writes_its_metrics(tmp_path):
    logger = MetricsCSV(str(tmp_path))
    logger.log_metrics({"train/loss": 1.0}, step=1)
    finish_loggers([logger], exit_code=1)
    assert (tmp_path / "metrics.csv").read_text() == "step,train/loss\n1,1.0\n"


def test_a_run_is_left_without_wandb_if_it_cannot_start(tmp_path, monkeypatch, caplog):
    def refuse(**_):
        raise wandb.Error("no space\nand more")

    monkeypatch.setattr(wandb, "init", refuse)
    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = wandb_logger(directory=str(tmp_path), config={}, project="p", name=None, group=None)
    assert logger is None
    assert "cannot start (no space); this run is logged to metrics.csv only." in caplog.text


def test_a_run_is_offline_if_the_server_does_not_answer(tmp_path, monkeypatch, caplog):
    modes = []

    def init(mode, **_):
        modes.append(mode)
        raise wandb.Error("timeout")

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    wandb_logger(directory=str(tmp_path), config={}, project="p", name=None, group=None)
    assert modes == ["online", "offline"]
    assert "this run is logged offline" in caplog.text


def test_nothing_is_added_to_a_run_without_wandb(tmp_path, monkeypatch):
    monkeypatch.setattr(wandb, "init", None)
    amend_wandb_run(tmp_path, metrics={"a": 1.0}, pictures={}, tables={})


@pytest.mark.subprocess
def test_a_checkpoint_is_logged_as_an_artifact(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "last.ckpt"
    file.write_bytes(b"weights")
    run = wandb.init(dir=tmp_path, mode="offline", settings=wandb.Settings(silent=True, console="off"))
    log_checkpoint(run, file)
    run.finish()
    wandb.teardown()  # W&B's service writes the last records when it ends
    (written,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    logged = [record.request.log_artifact.artifact for record in offline.records(written) if record.HasField("request")]
    logged += [record.artifact for record in offline.records(written) if record.HasField("artifact")]
    assert [(each.name, each.type) for each in logged if each.name] == [(f"network-{run.id}", "model")]


@pytest.mark.subprocess
def test_an_evaluation_is_added_to_the_run_of_the_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = wandb_logger(directory=str(tmp_path), config={"seed": 5}, project="p", name=None, group="sweep")
    logger.log_metrics({"train/loss": 1.0}, step=1)
    finish_loggers([logger], exit_code=0)
    Image.new("L", (8, 8)).save(tmp_path / "map.png")
    amend_wandb_run(
        tmp_path, metrics={"efficiency": 0.5}, pictures={"map": tmp_path / "map.png"},
        tables={"rows": pd.DataFrame({"a": [1]})},
    )  # fmt: skip
    wandb.teardown()  # as above
    held = offline.summary(tmp_path)
    assert len({run.run_id for run in held["runs"]}) == 1
    assert (held["runs"][0].display_name, held["runs"][0].run_group) == (Path(tmp_path).name, "sweep")
    assert held["config"]["seed"] == 5
    assert held["codes"] == [0, 0]
    assert {"train/loss", "efficiency"} <= held["logged"].keys()
    assert any(name.startswith("figures/map") for name in held["logged"])
    assert any(name.startswith("tables/rows") for name in held["logged"])


@pytest.fixture
def settings_of(tmp_path, monkeypatch):
    """`settings_of(mode)` is what `wandb disabled` and `wandb offline` write into W&B's settings."""
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)

    def write(mode):
        wandb.teardown()  # it reads its settings once
        (tmp_path / "config").mkdir(exist_ok=True)
        (tmp_path / "config" / "settings").write_text(f"[default]\nmode = {mode}\n" if mode else "")

    yield write
    wandb.teardown()


@pytest.mark.parametrize(("variable", "setting", "mode"), [
    ("disabled", None, "disabled"), ("dryrun", None, "offline"), ("offline", None, "offline"), (None, None, "online"),
    (None, "disabled", "disabled"), (None, "offline", "offline"), ("online", "disabled", "online"),
])  # fmt: skip
def test_the_mode_is_what_the_user_has_set(tmp_path, monkeypatch, settings_of, variable, setting, mode):
    settings_of(setting)
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    assert wandb_mode() == mode
    if mode == "disabled":
        monkeypatch.setattr(wandb, "init", None)
        assert wandb_logger(directory=str(tmp_path), config={}, project="p", name=None, group=None) is None
        (tmp_path / "wandb" / "run-20250101_000000-abc").mkdir(parents=True)
        amend_wandb_run(tmp_path, metrics={"a": 1.0}, pictures={}, tables={})


@pytest.mark.subprocess
def test_a_resumed_run_continues_its_wandb_run(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_MODE", "offline")
    for resume in (None, str(tmp_path)):
        config = {"resume": resume}
        logger = wandb_logger(directory=str(tmp_path), config=config, project="p", name=None, group=None)
        logger.log_metrics({"train/loss": 1.0}, step=1)
        with caplog.at_level("INFO", "fewlabels"):
            finish_loggers([logger], exit_code=0)
    wandb.teardown()
    assert len({run.run_id for run in offline.summary(tmp_path)["runs"]}) == 1
    folders = sorted(str(folder) for folder in tmp_path.glob("wandb/offline-run-*"))
    assert f"Logged offline; to upload: wandb sync {' '.join(folders)}" in caplog.messages


def test_an_online_run_is_resumed_under_its_id(tmp_path, monkeypatch):
    calls = []
    # W&B adds -1 to the folder of a second run in the same second
    for name, run in (("offline-run-20250102_000000-new-1", "new"), ("offline-run-20250102_000000-new", "new"),
                      ("run-20250101_000000-old", "old")):  # fmt: skip
        (tmp_path / "wandb" / name).mkdir(parents=True)
        (tmp_path / "wandb" / name / f"run-{run}.wandb").touch()
    monkeypatch.setattr(wandb, "init", lambda **options: calls.append(options))
    monkeypatch.setattr(wandb_runs, "wandb_mode", lambda: "online")
    monkeypatch.setattr(wandb_runs, "WandbLogger", lambda **_: None)
    for config in ({"resume": "x"}, {"resume": None}):
        wandb_logger(directory=str(tmp_path), config=config, project="p", name=None, group=None)
    assert [(call["id"], call["resume"]) for call in calls] == [("new", "allow"), (None, None)]


def test_wandb_is_given_texts_in_utf8(tmp_path, monkeypatch):
    calls = []

    def init(**options):
        calls.append((options["config"], list(sys.argv)))
        raise wandb.Error("enough")

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(sys, "argv", ["pretrain.py", "data.root=caf\udce9"])
    config = {"data": {"root": "caf\udce9", "seen": ["\udcff", 3]}}
    wandb_logger(directory=str(tmp_path), config=config, project="p", name=None, group=None)
    spelling = {"data": {"root": "caf%E9", "seen": ["%FF", 3]}}
    assert calls == [(spelling, ["pretrain.py", "data.root=caf%E9"])]
    assert sys.argv[1] == "data.root=caf\udce9"


def test_a_directory_whose_name_is_not_utf8_is_left_without_wandb(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(wandb, "init", None)
    monkeypatch.setenv("WANDB_MODE", "offline")
    directory = str(tmp_path / "caf\udce9")
    assert wandb_logger(directory=directory, config={}, project="p", name=None, group=None) is None
    assert "takes no directory whose name is not UTF-8; this run is logged to metrics.csv only" in caplog.text
