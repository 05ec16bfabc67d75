"""Run a function of a test module on several ranks connected by gloo, as DDP on CPUs does."""

import importlib.util
import inspect
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

TIMEOUT = timedelta(seconds=60)


def run_on_ranks(fn: Callable[..., Any], world_size: int, *args: Any) -> list[Any]:
    """Call `fn(*args)` on each of `world_size` ranks; return the results in rank order.

    `fn` is a top-level function of any file, such as a test module. It is called with torch.distributed initialised and
    one thread. Arguments and results are passed through torch.save. The ranks are forked from a server that has torch
    imported, so that only the first call waits for the import; they have the environment variables of that first call.

    Raises:
        RuntimeError: A rank raised. The other ranks are stopped; the message holds the tracebacks.
    """
    get_context("forkserver").set_forkserver_preload(["torch.distributed"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(args, folder / "args.pt")
        arguments = (world_size, inspect.getfile(fn), fn.__qualname__, folder)
        try:
            mp.start_processes(_rank, arguments, nprocs=world_size, start_method="forkserver")
        except (mp.ProcessRaisedException, mp.ProcessExitedException) as error:
            tracebacks = sorted(folder.glob("*.error"), key=lambda path: path.stat().st_mtime_ns)
            raise RuntimeError("\n".join(path.read_text() for path in tracebacks) or str(error)) from error
        return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(world_size)]


def _rank(rank: int, world_size: int, file: str, function: str, folder: Path) -> None:
    torch.set_num_threads(1)
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = f"file://{folder}/store"
    try:
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world_size, timeout=TIMEOUT)
        args = torch.load(folder / "args.pt", weights_only=False)
        torch.save(_load(file, function)(*args), folder / f"{rank}.pt")
    except BaseException:  # written before the connections close and the other ranks fail too
        (folder / f"{rank}.error").write_text(f"rank {rank}: {traceback.format_exc()}")
        raise
    dist.destroy_process_group()


def _load(file: str, function: str) -> Callable[..., Any]:
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    loaded: Callable[..., Any] = getattr(module, function)
    return loaded
