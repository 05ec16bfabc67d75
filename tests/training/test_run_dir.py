"""The run directory: config.yaml, results.json, and the command line that made it."""

import json
import os
import platform
import subprocess
import sys

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from fewlabels.core.errors import UserError
from fewlabels.training.run_dir import (
    command_line,
    current_run_dir,
    is_rank_zero,
    load_results,
    load_yaml,
    pretraining_method,
    program,
    recorded_command,
    run_dir_of,
    run_lock,
    save_config,
    save_results,
)


def test_results_are_one_flat_mapping_of_finite_numbers(tmp_path):
    save_results({"val/loss": 1.5, "epochs": 3, "val/knn_accuracy": float("nan")}, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == {"val/loss": 1.5, "epochs": 3}
    assert load_results(tmp_path) == {"val/loss": 1.5, "epochs": 3}
    assert load_results(tmp_path / "unfinished") == {}


@pytest.mark.parametrize(("argv", "head"), [
    (["src/pretrain.py", "data.root=my images"], "# python src/pretrain.py 'data.root=my images'\n"),
    (["fewlabels finetune", "seed=1"], "# fewlabels finetune seed=1\n"),
    (["ipykernel_launcher.py", "-f", "x"], "# called from Python"),
])  # fmt: skip
def test_the_configuration_is_read_back_as_it_was(tmp_path, monkeypatch, argv, head):
    monkeypatch.setattr(sys, "argv", argv)
    config = {"seed": 0, "data": {"root": None, "mean": [0.5]}, "name": "a: b"}
    save_config(config, tmp_path / "run")
    assert OmegaConf.to_container(OmegaConf.load(tmp_path / "run" / "config.yaml")) == config
    assert (tmp_path / "run" / "config.yaml").read_text().startswith(head)


def test_a_resumption_keeps_the_command_that_started_the_run(tmp_path, monkeypatch):
    for argv in (["src/pretrain.py", "seed=1", "data.root=a\nb"], ["src/pretrain.py", "resume=x"]):
        monkeypatch.setattr(sys, "argv", argv)
        save_config({"seed": 0}, tmp_path)
    assert recorded_command(tmp_path) == "python src/pretrain.py seed=1 'data.root=a b'"
    assert OmegaConf.load(tmp_path / "config.yaml") == {"seed": 0}


@pytest.mark.parametrize(("argv", "command"), [
    (["src/pretrain.py", "seed=1"], "python src/pretrain.py"),
    (["/opt/src/evaluate.py"], "python /opt/src/evaluate.py"),
    (["fewlabels pretrain", "seed=1"], "fewlabels pretrain"),
    (["ipykernel_launcher.py", "-f"], "python src/evaluate.py"),
    (["pytest"], "python src/evaluate.py"),
    (["/usr/lib/site-packages/submitit/core/_submit.py", "folder"], "python src/evaluate.py"),
])  # fmt: skip
def test_suggested_commands_are_started_as_this_one_was(monkeypatch, argv, command):
    monkeypatch.setattr(sys, "argv", argv)
    assert " ".join(program("evaluate")) == command


def test_code_outside_of_a_script_has_no_command_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pytest", "-q"])
    assert command_line() == "called from Python, not from a command line"


def test_a_checkpoint_leads_to_its_run_and_method(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    checkpoint = run / "checkpoints" / "last.ckpt"
    assert run_dir_of(run) == run_dir_of(checkpoint) == run
    assert pretraining_method(checkpoint) is None
    for text, method in (("method: {name: simclr}", "simclr"), ("method: {called: rotnet}", "rotnet"), ("[1]", None)):
        (run / "config.yaml").write_text(text)
        assert pretraining_method(checkpoint) == pretraining_method(run) == method


@pytest.mark.parametrize(("variables", "expected"), [
    ({}, True), ({"RANK": "0"}, True), ({"RANK": "2"}, False), ({"SLURM_PROCID": "1"}, False),
])  # fmt: skip
def test_rank_zero_is_known_before_torch_is(monkeypatch, variables, expected):
    for name in ("RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_rank_zero() == expected


def test_the_run_directory_is_that_of_the_job(monkeypatch):
    job = OmegaConf.create({"runtime": {"output_dir": "runs/x"}})
    monkeypatch.setattr(HydraConfig, "get", lambda: job)
    assert str(current_run_dir()) == "runs/x"


HOLD = """
import sys, time
from pathlib import Path
from fewlabels.training.run_dir import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.subprocess
def test_two_processes_cannot_train_one_run_and_a_killed_one_leaves_it_free(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        message = rf"is being trained by process {holder.pid} on {platform.node()}\. Wait until .*resume={tmp_path}"
        with pytest.raises(UserError, match=message), run_lock(tmp_path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with run_lock(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"process {os.getpid()} on {platform.node()}\n"
    assert not list(tmp_path.iterdir())


def test_a_lock_leaves_no_directory_that_it_made_but_keeps_what_is_in_it(tmp_path):
    with run_lock(tmp_path / "new"):
        with pytest.raises(UserError, match="is being trained by"), run_lock(tmp_path / "new"):
            pass
        assert (tmp_path / "new" / ".lock").is_file()
    assert not (tmp_path / "new").exists()
    with run_lock(tmp_path / "new"):
        (tmp_path / "new" / "config.yaml").touch()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["config.yaml"]


def test_a_configuration_with_names_that_are_not_utf8_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["src/pretrain.py", "data.root=caf\udce9"])
    save_config({"data": {"root": "caf\udce9", "seen": ["1_2", "null"]}}, tmp_path)
    assert b"data.root=caf\xe9" in (tmp_path / "config.yaml").read_bytes()
    assert load_yaml(tmp_path / "config.yaml") == {"data": {"root": "caf\udce9", "seen": ["1_2", "null"]}}
