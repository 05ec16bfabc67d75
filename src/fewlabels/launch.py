"""Start a task on as many processes as the trainer asks for, with torch's own elastic launcher.

Lightning's script launcher runs the command line again for every further process, and under `--multirun` that child
would start the whole sweep again. Here the workers get the composed configuration itself.
"""

import ctypes
import importlib
import logging
import os
import signal
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fewlabels.config import ConfigError, run_dir
from fewlabels.errors import UserError


class JobError(UserError):
    """A worker raised; its traceback is in the job's log."""


def launch(task: str, cfg: DictConfig) -> Path:
    """Call `task` with the resolved configuration, in this process or in one worker per device.

    Args:
        task: "module:function"; the function takes (configuration as plain containers, run directory).
        cfg: The composed configuration; `trainer.devices`, `trainer.num_nodes` and `launch.rendezvous` decide.

    Returns:
        The run directory.

    Raises:
        ConfigError: More devices than there are, or several machines without a meeting point.
        JobError: A worker raised; all others have been stopped.
    """
    directory = Path(run_dir())
    processes, nodes = local_processes(cfg.trainer), int(cfg.trainer.num_nodes)
    config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    config["trainer"]["devices"] = chosen(cfg.trainer.devices) or processes
    if processes * nodes == 1 or launched_already():
        _load(task)(config, directory)
        return directory
    if nodes > 1 and (not cfg.launch.rendezvous or not _directory_named()):
        raise ConfigError(
            f"\ntrainer.num_nodes={nodes}: start the same command on every machine, with the same "
            "launch.rendezvous=HOST:PORT (of the first machine) and the same hydra.run.dir=DIRECTORY (with -m: "
            "hydra.sweep.dir) that all can write to."
        )
    config["launch"]["rendezvous"] = meeting_point(cfg.launch.rendezvous)
    _elastic(task, config, directory, processes, nodes)
    return directory


def meeting_point(rendezvous: str | None) -> str | None:
    """Where the machines meet for this job: each job of a sweep has a port of its own, counted from the one given.

    On one port, a machine that is done with a job would come to meet for the next while another still closes the
    last one's.

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
    own = int(port) + (HydraConfig.get().job.num if HydraConfig.get().mode == RunMode.MULTIRUN else 0)
    if own >= 2**16:
        raise ConfigError(
            f"\nlaunch.rendezvous={rendezvous}: this job of the sweep would take port {own}. Give a lower one."
        )
    return f"{host}:{own}"


def launched_already() -> bool:
    """Whether torchrun, or srun with several tasks, has started one process per device before us."""
    srun = "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1
    return "TORCHELASTIC_RUN_ID" in os.environ or srun


def chosen(devices: Any) -> list[int]:
    """The numbers of the devices, where they are given one by one: `[2,3]` or `"2,3"`; else nothing."""
    numbers = devices.split(",") if isinstance(devices, str) else devices
    many = OmegaConf.is_list(devices) or (isinstance(devices, str) and "," in devices)
    return [int(number) for number in numbers] if many else []


def _directory_named() -> bool:
    key = "hydra.sweep.dir" if HydraConfig.get().mode == RunMode.MULTIRUN else "hydra.run.dir"
    return any(override.startswith(f"{key}=") for override in HydraConfig.get().overrides.hydra)


def local_processes(trainer: DictConfig) -> int:
    """How many processes this machine starts: one per device.

    Raises:
        ConfigError: `trainer.devices` asks for more than there are.
    """
    devices, accelerator = trainer.devices, trainer.accelerator
    import torch

    gpus = torch.cuda.device_count()
    if accelerator in ("gpu", "cuda") and not gpus and not torch.backends.mps.is_available():
        raise ConfigError(
            f"\ntrainer.accelerator={accelerator}: this machine shows no GPU. Use trainer=cpu or trainer=auto."
        )
    on_gpu = gpus > 0 and accelerator in ("auto", "gpu", "cuda")
    available = gpus if on_gpu else os.cpu_count() or 1
    if numbers := chosen(devices):
        return len(numbers)
    if devices in ("auto", -1, "-1"):
        return gpus if on_gpu else 1
    if not str(devices).isdigit() or not 1 <= int(devices) <= available:
        raise ConfigError(
            f"\ntrainer.devices={devices}: this machine has {available} {'GPU' if on_gpu else 'CPU core'}"
            f"{'s' if available > 1 else ''}. Give a number from 1 to {available}."
        )
    return int(devices)


def _elastic(task: str, config: dict[str, Any], directory: Path, processes: int, nodes: int) -> None:
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in (
        "multiprocessing.api", "agent.server.api", "multiprocessing.errors.error_handler",
        "rendezvous.dynamic_rendezvous",  # the machine that ends first takes the meeting point away
    ):  # fmt: skip
        logging.getLogger(f"torch.distributed.elastic.{name}").setLevel(logging.CRITICAL)  # we say it ourselves
    rendezvous = config["launch"]["rendezvous"]
    settings = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=processes,
        run_id=(uuid.uuid5(uuid.NAMESPACE_URL, str(directory)) if rendezvous else uuid.uuid4()).hex,
        rdzv_backend="c10d",
        rdzv_endpoint=rendezvous or "localhost:0",
        max_restarts=0,
        monitor_interval=0.2,  # seconds until a failed rank is noticed
        start_method="spawn",
    )
    job_logging = OmegaConf.to_container(HydraConfig.get().job_logging, resolve=True)
    try:
        with tempfile.TemporaryDirectory(prefix="fewlabels-") as notes:  # by which failed workers tell why
            settings.logs_specs = DefaultLogsSpecs(log_dir=notes)
            elastic_launch(settings, _worker)(task, config, str(directory), job_logging, processes)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        said = failure.message["message"] if isinstance(failure.message, dict) else str(failure.message)
        kind, _, message = said.partition(": ")
        if kind == "UserError":
            raise UserError(message) from None
        raise JobError(f"Rank {rank} failed with {said}\nIts traceback is in {directory / 'run.log'}.") from None
    except SignalException as error:
        raise SystemExit(128 + int(error.sigval)) from None


def _worker(task: str, config: dict[str, Any], directory: str, job_logging: dict[str, Any], processes: int) -> None:
    """One process of a job: give it its share of the cores and the job's log, and run."""
    import logging.config

    import torch
    from torch.distributed.elastic.multiprocessing.errors import record

    _die_with_parent()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    if os.environ["RANK"] != "0":  # one voice in the terminal, all in the log
        job_logging["root"]["handlers"] = ["file"]
    logging.config.dictConfig(job_logging)
    record(_logged)(task, config, Path(directory))


def _die_with_parent() -> None:
    """End this worker when its launcher is killed, or it would go on writing to a run that is resumed elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _logged(task: str, config: dict[str, Any], directory: Path) -> None:
    try:
        _load(task)(config, directory)
    except UserError:
        raise
    except Exception:
        logging.getLogger("fewlabels.failures").exception("Rank %s failed", os.environ["RANK"])
        raise


def _load(task: str) -> Any:
    module, _, function = task.partition(":")
    return getattr(importlib.import_module(module), function)
