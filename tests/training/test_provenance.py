"""provenance.jsonl: what is recorded at each start and resume, and what a report shows of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fewlabels.training import provenance
from fewlabels.training.provenance import FILE, git_states, load_provenance, provenance_values, record_start

FIXTURE = Path(__file__).parents[1] / "fixtures" / "run-0.1"
GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c")


@pytest.fixture
def without_git(monkeypatch):
    monkeypatch.setattr(provenance, "git_states", dict)


def record(directory, monkeypatch, arguments, step=None):
    monkeypatch.setattr(sys, "argv", ["src/pretrain.py", *arguments])
    record_start(directory, devices="1 × cpu (a)", precision="32-true", resumed_step=step)


def test_every_start_and_resume_adds_a_line_and_removes_none(tmp_path, monkeypatch, without_git):
    record(tmp_path, monkeypatch, ["data.root=my images", "seed=1"])
    first = (tmp_path / FILE).read_text()
    record(tmp_path, monkeypatch, ["resume=x", "trainer.max_epochs=9"], step=12)
    text = (tmp_path / FILE).read_text()
    assert text.startswith(first)
    started, resumed = map(json.loads, text.splitlines())
    assert started["command"] == "python src/pretrain.py 'data.root=my images' seed=1"
    assert resumed["command"] == "python src/pretrain.py resume=x trainer.max_epochs=9"
    assert [(each["event"], each["step"]) for each in (started, resumed)] == [("start", 0), ("resume", 12)]
    assert torch.__version__.startswith(started["versions"]["torch"].partition("+")[0])
    assert {"python", "fewlabels", "torchvision", "lightning", "numpy", "scikit-learn"} < started["versions"].keys()
    assert (started["devices"], started["precision"]) == ("1 × cpu (a)", "32-true")


def test_a_line_that_a_kill_cut_off_hides_no_other(tmp_path, monkeypatch, without_git):
    record(tmp_path, monkeypatch, ["seed=1"])
    with (tmp_path / FILE).open("a") as file:
        file.write('{"event": "resu')
    record(tmp_path, monkeypatch, ["resume=x"], step=3)
    assert [line["command"].split()[-1] for line in load_provenance(tmp_path)] == ["seed=1", "resume=x"]


def test_a_report_names_the_machine_and_the_code_once_unless_they_change(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "git_states", lambda: {"project": {"commit": "a" * 40, "dirty": True}})
    record(tmp_path, monkeypatch, ["seed=1"])
    record(tmp_path, monkeypatch, ["resume=x"], step=3)
    monkeypatch.setattr(provenance, "git_states", lambda: {"project": {"commit": "b" * 40, "dirty": False}})
    record(tmp_path, monkeypatch, ["resume=x"], step=5)
    values = provenance_values(tmp_path)
    assert list(values) == [
        "started",
        "started, code",
        "started, on",
        "resumed (1)",
        "resumed (2)",
        "resumed (2), code",
    ]
    assert values["started"].endswith(": python src/pretrain.py seed=1")
    assert values["started, code"] == "project at aaaaaaaaaaaa with uncommitted changes"
    assert values["started, on"].startswith("1 × cpu (a), 32-true, python 3.")
    assert values["resumed (2)"].endswith(", from step 5: python src/pretrain.py resume=x")
    assert values["resumed (2), code"] == "project at bbbbbbbbbbbb"


def test_a_run_of_version_0_1_has_the_command_of_its_configuration():
    command = (
        "python src/pretrain.py logger=csv 'backbone.hidden=[8,8]' trainer.max_epochs=4 hydra.run.dir=runs/spirals"
    )
    assert load_provenance(FIXTURE) == [{"event": "start", "command": command}]
    assert provenance_values(FIXTURE) == {"started": command}


@pytest.mark.subprocess
def test_uncommitted_changes_of_the_project_and_of_the_directory_are_seen(tmp_path, monkeypatch):
    def git(folder, *arguments):
        return subprocess.run([*GIT, "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout

    for name in ("code", "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        git(tmp_path / name, "init", "-q")
        git(tmp_path / name, "add", ".")
        git(tmp_path / name, "commit", "-qm", "a")
    heads = {name: git(tmp_path / name, "rev-parse", "HEAD").strip() for name in ("code", "mine")}
    monkeypatch.setattr(provenance, "_SOURCE", tmp_path / "code")
    monkeypatch.chdir(tmp_path / "mine")
    expected = {
        "project": {"commit": heads["code"], "dirty": False},
        "directory": {"commit": heads["mine"], "dirty": False},
    }
    assert git_states() == expected
    (tmp_path / "mine" / "new.txt").write_text("untracked files are no change")
    (tmp_path / "code" / "__init__.py").write_text("changed = 1")
    expected["project"]["dirty"] = True
    assert git_states() == expected
    monkeypatch.chdir(tmp_path / "code")
    assert git_states() == {"project": expected["project"]}

    installed = tmp_path / "mine" / ".venv"  # a package inside a foreign repository that does not track it
    installed.mkdir()
    (installed / "__init__.py").write_text("")
    monkeypatch.setattr(provenance, "_SOURCE", installed)
    monkeypatch.chdir(tmp_path)
    assert git_states() == {}
    monkeypatch.setenv("PATH", str(tmp_path))  # no git
    assert git_states() == {}
