"""How many processes a job gets, on which devices, and what happens if one of them fails."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from fewlabels.core.errors import UserError
from fewlabels.training import launch as module
from fewlabels.training.config_checks import ConfigError
from fewlabels.training.launch import (
    JobError,
    _job_error,
    already_launched,
    device_indices,
    launch,
    local_processes,
    rendezvous_of_job,
)

TINY = (
    "method=simclr", "data=flowers", "data.source=synthetic", "data.size=32", "logger=csv", "trainer=cpu",
    "backbone=mobilenet_v3_small", "method.head.hidden=16", "trainer.limit_train_batches=2",
    "trainer.limit_val_batches=1", "trainer.limit_test_batches=1", "callbacks.probes=null",
    "callbacks.embedding_plots=null", "callbacks.preview_views=null",
)  # fmt: skip


def trainer(devices, accelerator="auto"):
    return OmegaConf.create({"devices": devices, "accelerator": accelerator})


@pytest.mark.parametrize(
    ("devices", "indices"), [(2, []), ("2", []), ([1, 3], [1, 3]), ("1,3", [1, 3]), ("3,", [3]), ("auto", []), (-1, [])]
)
def test_a_list_of_devices_is_used_as_given(devices, indices):
    assert device_indices(trainer(devices).devices) == indices


@pytest.mark.parametrize("wrong", ["1,x", "1,1", ",", [], [0.5]])
def test_a_list_that_names_no_devices_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"trainer\.devices=.*: give each device once, by its index, such as \[0,2\]"):
        device_indices(trainer(wrong).devices)


def test_indices_are_those_of_the_gpus_that_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [local_processes(trainer(d)) for d in ("3,", "3", [0, 2])] == [1, 3, 2]
    with pytest.raises(ConfigError, match=r"names GPUs by their index: this machine has 4\. Give indices from 0 to 3"):
        local_processes(trainer("4,"))
    with pytest.raises(ConfigError, match=r"this machine has 4\. Give a number of processes, such as 2"):
        local_processes(trainer("1,", "cpu"))


def test_on_the_cpu_there_are_as_many_devices_as_cores(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(module, "processors", lambda: 4)
    assert [local_processes(trainer(d, "cpu")) for d in (1, "3", 4, "auto", -1)] == [1, 3, 4, 1, 1]
    for wrong in (0, 5, "many", -2, 1.5):
        with pytest.raises(ConfigError, match=r"4 CPU cores\. Give a number from 1 to 4"):
            local_processes(trainer(wrong, "cpu"))


def test_there_are_as_many_devices_as_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [local_processes(trainer(d)) for d in (1, 2, -1, [1])] == [1, 2, 2, 1]
    with pytest.raises(ConfigError, match="2 GPUs"):
        local_processes(trainer(3, "gpu"))


def test_a_missing_gpu_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(
        ConfigError, match=r"trainer\.accelerator=gpu: this machine has no usable GPU\. Use trainer=cpu"
    ):
        local_processes(trainer(1, "gpu"))


def test_torchrun_and_srun_are_recognised(monkeypatch):
    srun = {"SLURM_PROCID": "0", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "python"}
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_STEP_NUM_TASKS", "SLURM_PTY_PORT", *srun):
        monkeypatch.delenv(name, raising=False)
    assert not already_launched()
    monkeypatch.setenv("SLURM_NTASKS", "2")
    assert not already_launched()  # a shell of salloc
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert not already_launched()  # a batch script alone has started nothing
    for name, value in srun.items():
        monkeypatch.setenv(name, value)
    assert already_launched()
    for name, value in (("SLURM_JOB_NAME", "bash"), ("SLURM_PTY_PORT", "40000"), ("SLURM_STEP_NUM_TASKS", "1")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert not already_launched(), name  # an interactive shell; a step of one task in an allocation of two
    for name in srun:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert already_launched()


def hydra_job(mode, *overrides):
    return lambda: SimpleNamespace(
        mode=mode, job=SimpleNamespace(num=3), overrides=SimpleNamespace(hydra=list(overrides)),
        runtime=SimpleNamespace(output_dir="runs/x"),
    )  # fmt: skip


def test_every_job_of_a_sweep_has_its_own_port(monkeypatch):
    monkeypatch.setattr(HydraConfig, "get", hydra_job(RunMode.RUN))
    assert rendezvous_of_job(None) is None
    assert rendezvous_of_job("node1:29500") == "node1:29500"
    monkeypatch.setattr(HydraConfig, "get", hydra_job(RunMode.MULTIRUN))
    assert rendezvous_of_job("[::1]:29500") == "[::1]:29503"
    with pytest.raises(ConfigError, match="job 3 of the sweep would use port 65538"):
        rendezvous_of_job("node1:65535")
    for wrong in ("node1", ":29500", "node1:", "node1:port", "node1:99999"):
        with pytest.raises(ConfigError, match=r"launch\.rendezvous=.*give HOST:PORT"):
            rendezvous_of_job(wrong)


RECORDED = []


def record_call(config, directory):
    RECORDED.append((config, directory))


def config_on(nodes=1, rendezvous=None):
    return OmegaConf.create({
        "trainer": {"devices": "auto", "accelerator": "cpu", "num_nodes": nodes}, "launch": {"rendezvous": rendezvous},
        "seed": 3, "copy": "${seed}",
    })  # fmt: skip


def test_one_device_needs_no_further_process(monkeypatch):
    monkeypatch.setattr(HydraConfig, "get", hydra_job(RunMode.RUN))
    monkeypatch.setattr(module, "_load", lambda _: record_call)
    RECORDED.clear()
    assert launch("module:function", config_on()) == Path("runs/x")
    ((config, directory),) = RECORDED
    assert (config["trainer"]["devices"], config["copy"], directory) == (1, 3, Path("runs/x"))


@pytest.mark.parametrize(("mode", "key"), [(RunMode.RUN, "hydra.run.dir"), (RunMode.MULTIRUN, "hydra.sweep.dir")])
def test_several_machines_need_a_rendezvous_and_a_common_directory(monkeypatch, mode, key):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    launched = []
    monkeypatch.setattr(module, "_launch_workers", lambda *arguments: launched.append(arguments))
    for overrides, rendezvous in (((), "node1:29500"), ((f"{key}=x",), None)):
        monkeypatch.setattr(HydraConfig, "get", hydra_job(mode, *overrides))
        with pytest.raises(ConfigError, match=r"trainer\.num_nodes=2: start the same command on every machine"):
            launch("module:function", config_on(2, rendezvous))
    monkeypatch.setattr(HydraConfig, "get", hydra_job(mode, f"{key}=x"))
    launch("module:function", config_on(2, "node1:29500"))
    (_, config, _, processes, nodes), *_ = launched
    assert (processes, nodes) == (1, 2)
    assert config["launch"]["rendezvous"] == f"node1:{29500 if mode == RunMode.RUN else 29503}"


def test_the_error_of_a_rank_keeps_its_kind():
    mistake = _job_error(1, {"message": "UserError: data.root=x: give a folder."}, Path("run"))
    assert type(mistake) is UserError
    assert str(mistake) == "data.root=x: give a folder."
    other = _job_error(1, "Signal 9", Path("run"))
    assert type(other) is JobError
    assert str(other).startswith("Rank 1 failed with Signal 9\nIts traceback is in run/run.log")


@pytest.mark.slow
@pytest.mark.subprocess
@pytest.mark.timeout(600)
def test_each_job_of_a_sweep_on_two_processes_has_its_own_settings_and_a_failure_stops_no_other(pretrain, tmp_path):
    recorder = ("+callbacks.recorder._target_=rank_recorder.RankRecorder", "+callbacks.recorder.fail_at=0.5")
    done = pretrain(
        "-m", *TINY, *recorder, "trainer.max_epochs=1", "trainer.devices=2", "method.temperature=0.5,0.1",
        "data.batch_size=8,16", "hydra.sweep.dir=sweep", code=1,
    )  # fmt: skip
    settings = set()
    for job in range(4):
        run = tmp_path / "sweep" / str(job)
        config = OmegaConf.load(run / "config.yaml")
        temperature, batch_size = config.method.temperature, config.data.batch_size
        settings.add((temperature, batch_size))
        for rank in (0, 1):
            recorded = json.loads((run / f"rank{rank}.json").read_text())
            assert recorded == {"temperature": temperature, "batch_size": batch_size}
        failed = temperature == 0.5
        assert ("ValueError: rank 1 fails on purpose" in (run / "run.log").read_text()) == failed
        assert (run / "results.json").exists() != failed
        if not failed:
            config = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["fewlabels"]["config"]
            assert (config["method"]["temperature"], config["data"]["batch_size"]) == (temperature, batch_size)
    assert settings == {(0.5, 8), (0.5, 16), (0.1, 8), (0.1, 16)}
    assert "Rank 1 failed" in done.stdout
