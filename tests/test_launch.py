"""How many processes a job gets, and on which devices."""

import os

import pytest
import torch
from omegaconf import OmegaConf

from fewlabels.config import ConfigError
from fewlabels.launch import chosen, launched_already, local_processes


def trainer(devices, accelerator="auto"):
    return OmegaConf.create({"devices": devices, "accelerator": accelerator})


@pytest.mark.parametrize(
    ("devices", "numbers"), [(2, []), ("2", []), ([1, 3], [1, 3]), ("1,3", [1, 3]), ("auto", []), (-1, [])]
)
def test_devices_named_one_by_one_stay_those(devices, numbers):
    assert chosen(trainer(devices).devices) == numbers


def test_on_the_cpu_there_are_as_many_devices_as_cores(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert [local_processes(trainer(d, "cpu")) for d in (1, "3", 4, "auto", -1)] == [1, 3, 4, 1, 1]
    for wrong in (0, 5, "many", -2, 1.5):
        with pytest.raises(ConfigError, match=r"4 CPU cores\. Give a number from 1 to 4"):
            local_processes(trainer(wrong, "cpu"))


def test_on_gpus_there_are_as_many_as_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [local_processes(trainer(d)) for d in (1, 2, -1, [1])] == [1, 2, 2, 1]
    with pytest.raises(ConfigError, match="2 GPUs"):
        local_processes(trainer(3, "gpu"))


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="shows no GPU"):
        local_processes(trainer(1, "gpu"))


def test_another_launcher_is_recognised(monkeypatch):
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    assert not launched_already()
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert not launched_already()  # a batch script alone has started nothing
    monkeypatch.setenv("SLURM_NTASKS", "2")
    assert launched_already()
    monkeypatch.delenv("SLURM_PROCID")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert launched_already()
