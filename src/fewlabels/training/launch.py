"""Start a task on as many processes as the trainer asks for, with torch's elastic launcher.

Lightning's launcher runs the command line again for every further process; with `--multirun` such a process would start
the entire sweep again. Here the workers get the composed configuration.
"""

import ctypes
import importlib
import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fewlabels.core.errors import UserError
from fewlabels.data.image_store.parallel import processors
from fewlabels.training.config_checks import ConfigError
from fewlabels.training.run_dir import current_run_dir

QUIET = ("multiprocessing.api", "agent.server.api", "multiprocessing.errors.error_handler",
         "rendezvous.dynamic_rendezvous")  # fmt: skip
"""Loggers of torch.distributed.elastic about failures that `launch` reports itself. The last one complains when the
machine that hosts the rendezvous finishes first."""


INTERACTIVE = ("bash", "interactive")
"""Names of SLURM jobs that are shells."""


class JobError(UserError):
    """A worker raised; its traceback is in the job's log."""


def launch(task: str, cfg: DictConfig) -> Path:
    """Call `task` with the resolved configuration, in this process or in one worker per device.

    Args:
        task: "module:function"; the function takes (configuration in plain containers, run directory).
        cfg: The composed configuration; `trainer.devices`, `trainer.num_nodes` and `launch.rendezvous` decide.

    Returns:
        The run directory.

    Raises:
        ConfigError: More devices than there are, or several machines without a common rendezvous and run directory.
        UserError: A worker raised it.
        JobError: A worker raised another exception; all workers have been stopped.
    """
    directory = current_run_dir()
    processes, nodes = local_processes(cfg.trainer), int(cfg.trainer.num_nodes)
    config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    config["trainer"]["devices"] = device_indices(cfg.trainer.devices) or processes
    if processes * nodes == 1 or already_launched():
        _load(task)(config, directory)
        return directory
    if nodes > 1 and (not cfg.launch.rendezvous or not _directory_given()):
        raise ConfigError(
            f"\ntrainer.num_nodes={nodes}: start the same command on every machine, with the same "
            "launch.rendezvous=HOST:PORT (of the first machine) and the same hydra.run.dir=DIRECTORY (with -m: "
            "hydra.sweep.dir) that all can write to."
        )
    config["launch"]["rendezvous"] = rendezvous_of_job(cfg.launch.rendezvous)
    _launch_workers(task, config, directory, processes, nodes)
    return directory


def rendezvous_of_job(rendezvous: str | None) -> str | None:
    """The rendezvous of this job: job k of a sweep uses the given port plus k.

    On one port for all jobs, a machine that has finished a job could join the rendezvous of the next one while another
    machine still closes the previous one.

    Raises:
        ConfigError: Not a host and a port.
    """
    if not rendezvous:
        return None
    host, _, port = rendezvous.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ConfigError(
            f"\nlaunch.rendezvous={rendezvous}: give HOST:PORT of the first machine, such as node1:29500."
        )
    job = HydraConfig.get().job.num if HydraConfig.get().mode == RunMode.MULTIRUN else 0
    if int(port) + job >= 2**16:
        raise ConfigError(
            f"\nlaunch.rendezvous={rendezvous}: job {job} of the sweep would use port {int(port) + job}. Give a lower "
            "port."
        )
    return f"{host}:{int(port) + job}"


def already_launched() -> bool:
    """Whether torchrun, or srun with several tasks, has started one process per device already."""
    return "TORCHELASTIC_RUN_ID" in os.environ or started_by_srun()


def started_by_srun() -> bool:
    """Whether srun has started this process as one of several tasks.

    `salloc` and `sbatch` set SLURM_NTASKS too, and a shell of `srun --pty` has a rank, but they start one process. srun
    alone sets SLURM_STEP_ID; an interactive shell is known by its job's name, as in Lightning, or by its terminal.
    """
    shell = os.environ.get("SLURM_JOB_NAME") in INTERACTIVE or "SLURM_PTY_PORT" in os.environ
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS", os.environ.get("SLURM_NTASKS", "1"))
    return not shell and {"SLURM_PROCID", "SLURM_STEP_ID"} <= os.environ.keys() and int(tasks) > 1


def device_indices(devices: Any) -> list[int]:
    """The indices of the devices, if `trainer.devices` lists them, as `[2,3]`, `"2,3"` or `"3,"`; else empty.

    Raises:
        ConfigError: An index is no whole number, or is given twice.
    """
    if not (OmegaConf.is_list(devices) or (isinstance(devices, str) and "," in devices)):
        return []
    indices = [str(index).strip() for index in (devices.split(",") if isinstance(devices, str) else devices)]
    if isinstance(devices, str) and indices[-1] == "":  # "3," is device 3, where "3" is three devices
        indices.pop()
    if not indices or not all(index.isdigit() for index in indices) or len(set(indices)) < len(indices):
        raise ConfigError(
            f"\ntrainer.devices={devices}: give each device once, by its index, such as [0,2] or '\"3,\"', or their "
            "number."
        )
    return [int(index) for index in indices]


def _directory_given() -> bool:
    """Whether the command line names the run directory, or the sweep's."""
    key = "hydra.sweep.dir" if HydraConfig.get().mode == RunMode.MULTIRUN else "hydra.run.dir"
    return any(override.startswith(f"{key}=") for override in HydraConfig.get().overrides.hydra)


def local_processes(trainer: DictConfig) -> int:
    """How many processes this machine starts: one per device.

    Raises:
        ConfigError: `trainer.devices` asks for more than there are.
    """
    import torch

    devices, accelerator = trainer.devices, trainer.accelerator
    gpus = torch.cuda.device_count()
    if accelerator in ("gpu", "cuda") and not gpus and not torch.backends.mps.is_available():
        raise ConfigError(
            f"\ntrainer.accelerator={accelerator}: this machine has no usable GPU. Use trainer=cpu or trainer=auto."
        )
    on_gpu = gpus > 0 and accelerator in ("auto", "gpu", "cuda")
    available = gpus if on_gpu else processors()
    if indices := device_indices(devices):
        if not on_gpu or max(indices) >= gpus:
            raise ConfigError(
                f"\ntrainer.devices={devices} names GPUs by their index: this machine has {gpus}. "
                + (f"Give indices from 0 to {gpus - 1}." if on_gpu else "Give a number of processes, such as 2.")
            )
        return len(indices)
    if devices in ("auto", -1, "-1"):
        return gpus if on_gpu else 1
    if not str(devices).isdigit() or not 1 <= int(devices) <= available:
        raise ConfigError(
            f"\ntrainer.devices={devices}: this machine has {available} {'GPU' if on_gpu else 'CPU core'}"
            f"{'s' if available > 1 else ''}. Give a number from 1 to {available}."
        )
    return int(devices)


def _launch_workers(task: str, config: dict[str, Any], directory: Path, processes: int, nodes: int) -> None:
    """Run `_worker` in every process of this machine, and wait for all."""
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in QUIET:
        logging.getLogger(f"torch.distributed.elastic.{name}").setLevel(logging.CRITICAL)
    rendezvous = config["launch"]["rendezvous"]
    settings = LaunchConfig(
        min_nodes=nodes, max_nodes=nodes, nproc_per_node=processes, rdzv_backend="c10d",
        run_id=(uuid.uuid5(uuid.NAMESPACE_URL, str(directory)) if rendezvous else uuid.uuid4()).hex,
        rdzv_endpoint=rendezvous or "localhost:0", max_restarts=0, start_method="spawn",
        monitor_interval=0.2,  # seconds until a failed rank is noticed
    )  # fmt: skip
    job_logging = OmegaConf.to_container(HydraConfig.get().job_logging, resolve=True)
    try:
        with tempfile.TemporaryDirectory(prefix="fewlabels-") as folder:  # workers write their errors to it
            settings.logs_specs = DefaultLogsSpecs(log_dir=folder)
            elastic_launch(settings, _worker)(task, config, str(directory), job_logging, processes)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        raise _job_error(rank, failure.message, directory) from None
    except SignalException as error:
        raise SystemExit(128 + int(error.sigval)) from None


def _job_error(rank: int, message: str | dict[str, str], directory: Path) -> UserError:
    """The exception of the rank that failed first."""
    text = message["message"] if isinstance(message, dict) else str(message)
    kind, _, reason = text.partition(": ")
    if kind == "UserError":
        return UserError(reason)
    return JobError(f"Rank {rank} failed with {text}\nIts traceback is in {directory / 'run.log'}.")


def _worker(task: str, config: dict[str, Any], directory: str, job_logging: dict[str, Any], processes: int) -> None:
    """Run the task in one process of a job, with its fraction of the CPU cores and the job's log."""
    import logging.config

    import torch
    from torch.distributed.elastic.multiprocessing.errors import record

    _end_with_parent()
    torch.set_num_threads(max(1, processors() // processes))
    if os.environ["RANK"] != "0":  # only rank 0 writes to the terminal; all ranks write to run.log
        job_logging["root"]["handlers"] = ["file"]
    logging.config.dictConfig(job_logging)
    record(_run_logged)(task, config, Path(directory))


def _end_with_parent() -> None:
    """Have Linux kill this worker when its launcher is killed: it would write to a run that is being resumed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _run_logged(task: str, config: dict[str, Any], directory: Path) -> None:
    """Run the task; log the traceback of an unexpected exception."""
    try:
        _load(task)(config, directory)
    except UserError:
        raise
    except Exception:
        logging.getLogger("fewlabels.failures").exception("Rank %s failed", os.environ["RANK"])
        raise


def _load(task: str) -> Callable[[dict[str, Any], Path], None]:
    """The function that "module:function" names."""
    module, _, function = task.partition(":")
    loaded: Callable[[dict[str, Any], Path], None] = getattr(importlib.import_module(module), function)
    return loaded
