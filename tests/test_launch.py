"""How many processes a job gets, and on which devices."""

import os
from types import SimpleNamespace

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from fewlabels.config import ConfigError
from fewlabels.launch import chosen, launched_already, local_processes, meeting_point


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


def test_each_job_of_a_sweep_meets_at_a_port_of_its_own(monkeypatch):
    def job(mode):
        return lambda: SimpleNamespace(mode=mode, job=SimpleNamespace(num=3))

    monkeypatch.setattr(HydraConfig, "get", job(RunMode.RUN))
    assert meeting_point(None) is None
    assert meeting_point("node1:29500") == "node1:29500"
    monkeypatch.setattr(HydraConfig, "get", job(RunMode.MULTIRUN))
    assert meeting_point("[::1]:29500") == "[::1]:29503"
    with pytest.raises(ConfigError, match="would take port 65538"):
        meeting_point("node1:65535")
    for wrong in ("node1", ":29500", "node1:", "node1:port", "node1:99999"):
        with pytest.raises(ConfigError, match=r"launch\.rendezvous=.*give HOST:PORT"):
            meeting_point(wrong)
