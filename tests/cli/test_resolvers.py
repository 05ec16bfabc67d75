"""Where runs go by default, how a sweep's jobs are named, and the config groups of each script."""

import re
import sys
from types import SimpleNamespace

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from fewlabels.cli import resolvers
from fewlabels.cli.resolvers import CONF, config_groups, register_resolvers


def resolved(expression, **values):
    register_resolvers()
    return OmegaConf.create(values | {"value": expression}).value


def test_a_run_has_a_directory_of_its_own_and_a_resumed_one_keeps_its():
    expression = "${run_dir:${resume},${method},${data}}"
    first = resolved(expression, resume=None, method="simclr", data="flowers")
    second = resolved(expression, resume=None, method="simclr", data="flowers")
    assert re.fullmatch(r"runs/simclr-flowers/\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-\d{6}", first)
    assert first != second
    assert resolved(expression, resume="runs/mine", method="simclr", data="flowers") == "runs/mine"


def test_an_evaluation_is_written_to_its_run_unless_the_data_are_others(monkeypatch):
    monkeypatch.setattr(resolvers, "held_back", [])
    assert resolved("${evaluation_dir:${run}}", run="runs/mine") == "runs/mine"
    assert resolved("${evaluation_dir:${run}}", run=["a", "b"]).startswith("runs/evaluate/")
    assert resolved("${evaluation_dir:${run}}", run=None).startswith("runs/evaluate/")
    for override in ("data.label_fraction=0.1", "data=flowers"):
        monkeypatch.setattr(resolvers, "held_back", [override])
        assert resolved("${evaluation_dir:${run}}", run="runs/mine").startswith("runs/evaluate/")


@pytest.mark.parametrize(("arguments", "overrides", "name"), [
    (["-m", "method.temperature=0.1,0.5", "data.batch_size=64"], ["method.temperature=0.5", "data.batch_size=64"],
     "temperature=0.5"),
    (["-m", "seed=range(3)", "method=choice(a,b)"], ["seed=2", "method=b"], "seed=2 method=b"),
    (["-m", "data.batch_size=64"], ["data.batch_size=64"], None),
])  # fmt: skip
def test_a_job_is_named_after_the_settings_that_are_swept(monkeypatch, arguments, overrides, name):
    job = SimpleNamespace(
        mode=RunMode.MULTIRUN, sweep=SimpleNamespace(dir="runs/sweeps/mine"), overrides=SimpleNamespace(task=overrides)
    )
    monkeypatch.setattr(HydraConfig, "initialized", lambda: True)
    monkeypatch.setattr(HydraConfig, "get", lambda: job)
    monkeypatch.setattr(sys, "argv", ["src/pretrain.py", *arguments])
    assert resolved("${job_name:}") == name
    assert resolved("${sweep_name:}") == "mine"


def test_a_run_outside_a_sweep_has_no_such_name():
    assert resolved("${job_name:}") is None
    assert resolved("${sweep_name:}") is None


def test_each_script_has_its_own_config_groups():
    assert set(config_groups("evaluate")) == {"analyses"}
    assert {"method", "search"} <= set(config_groups("pretrain"))
    assert not {"method", "search", "analyses"} & set(config_groups("finetune"))
    for command in ("pretrain", "finetune"):
        choices = config_groups(command)
        assert "flowers" in choices["data"]
        assert not [name for names in choices.values() for name in names if name.startswith("_")]


def test_the_configurations_are_found():
    assert (CONF / "pretrain.yaml").is_file()
