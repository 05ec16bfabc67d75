"""The measurements. Each runs both sides in new processes, alternately, and compares neighbouring runs."""

import contextlib
import importlib.util
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from _plumbing import HERE, FailedProcessError, Options, Row, alternate, call, compare, run

SHORT = ("trainer.limit_val_batches=1", "trainer.limit_test_batches=1", "callbacks.probes.max_samples=100")


@contextlib.contextmanager
def pretrained(options: Options, *overrides: str, environment: dict[str, str] | None = None) -> Iterator[Path]:
    """Run src/pretrain.py for SimCLR on flowers; yield its run directory, and delete it afterwards."""
    directory = options.scratch / f"run-{time.time_ns()}"
    command = [sys.executable, "src/pretrain.py", "method=simclr", "data=flowers", "logger=csv"]
    command += [f"data.root={quoted(options.images)}", f"hydra.run.dir={quoted(directory)}"]
    command += [f"data.batch_size={options.batch}", *overrides]
    try:
        run(command, {"FEWLABELS_CACHE": str(options.scratch / "cache")} | (environment or {}))
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def quoted(path: Path) -> str:
    """Quote a path for Hydra's command line."""
    return "'" + str(path.absolute()).replace("\\", "\\\\").replace("'", "\\'") + "'"


def pretraining_speed(options: Options, devices: int) -> float:
    """Images per second over all devices, from results.json, in `steps` optimizer steps or one epoch.

    This number does not include validation and test, so these are shortened.
    """
    length = (f"trainer.limit_train_batches={options.steps + 1}", "trainer.max_epochs=1")
    with pretrained(options, f"trainer.devices={devices}", *length, *SHORT) as directory:
        return float(json.loads((directory / "results.json").read_text())["train/images_per_second"])


def training(options: Options, names: set[str]) -> Iterator[Row]:
    """Measure pretraining against the bare loop and against lightly's example."""
    shape = {"batch": options.batch, "steps": options.steps}
    installed = importlib.util.find_spec("lightly") is not None
    sides: dict[str, Callable[[], float]] = {}
    if "pretrain" in names:
        sides["bare"] = lambda: call("_loops", "bare", **shape)
    sides["pretrain"] = lambda: pretraining_speed(options, devices=1)
    if "lightly" in names and installed:
        sides["lightly"] = lambda: call("_loops", "lightly", images=str(options.images), **shape)
    found = alternate(options.repeats, sides) if len(sides) > 1 else {}
    if "bare" in found:
        yield Row("bare loop", statistics.median(found["bare"]), "images/s", samples={"bare": found["bare"]})
        yield compare("pretrain / bare loop", found, "pretrain", "bare", 0.92, "images/s")
    if "lightly" in found:
        yield compare("pretrain / lightly's SimCLR example", found, "pretrain", "lightly", 1.5, "images/s")
    elif "lightly" in names:
        yield Row("pretrain / lightly's SimCLR example", None, detail="lightly not installed: pip install -e .[bench]")


def views(options: Options) -> Iterator[Row]:
    """Measure our views against torchvision's, on one core."""
    repeats, seconds = (1, 0.2) if options.quick else (5, 1.0)
    arguments = {"images": str(options.images), "batch": options.batch, "repeats": repeats, "seconds": seconds}
    found = call("_loops", "views", **arguments)
    yield compare("views, one core / torchvision on PIL", found, "ours", "torchvision", 4, "views/s")


def store(options: Options) -> Iterator[Row]:
    """Measure building the image store against only decoding and resizing."""
    folder = str(options.scratch / "many")
    seconds, least = (0.1, 300) if options.quick else (5, 5000)
    count = call("_storage", "link", images=str(options.images), folder=folder, seconds=seconds, least=least)

    def build() -> float:
        cache = options.scratch / f"cache-{time.time_ns()}"
        try:
            return float(call("_storage", "build", images=folder, cache=str(cache)))
        finally:
            shutil.rmtree(cache, ignore_errors=True)

    sides = {"build": build, "decode": lambda: call("_storage", "decode", images=folder)}
    found = alternate(1 if options.quick else 3, sides)
    row = compare("building the store / decoding only", found, "build", "decode", 0.8, "images/s")
    row.detail += f", {count:,} files"
    yield row


def startup(options: Options) -> Iterator[Row]:
    """Measure seconds to --help, to an error message, and to the end of the first training step.

    The first run of each is not counted.
    """
    repeats = 1 if options.quick else 3
    script = [sys.executable, "src/pretrain.py"]
    wrong = [*script, "method=simclr", "method.temprature=1"]

    def mistake() -> None:
        done = run(wrong, expect=1)
        if "temprature" not in done.stdout + done.stderr:
            raise FailedProcessError(f"The message about a misspelt key does not name it:\n{done.stdout}{done.stderr}")

    cases: list[tuple[str, Callable[[], float], float]] = [
        ("pretrain.py --help", lambda: timed(lambda: run([*script, "--help"])), 1.5),
        ("pretrain.py with a misspelt key", lambda: timed(mistake), 1.5),
        ("command to end of first step", lambda: first_step(options), 8),
    ]
    for name, measure, target in cases:
        seconds = [measure() for _ in range(1 + repeats)][1:]
        yield Row(name, statistics.median(seconds), "s", target, least=False, samples={"seconds": seconds})


def timed(task: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def first_step(options: Options) -> float:
    """Seconds from the command to the end of the first training step; `_marker.FirstStep` writes the time."""
    file = options.scratch / f"first-{time.time_ns()}"
    callback = ("+callbacks.bench._target_=_marker.FirstStep", f"+callbacks.bench.file={quoted(file)}")
    path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
    start = time.time()
    with pretrained(options, "trainer.max_steps=1", *SHORT, *callback, environment={"PYTHONPATH": path}):
        return float(file.read_text()) - start


def memory(options: Options) -> Iterator[Row]:
    """Measure how much the private memory of a process grows with the number of images."""
    sizes = (500, 2000) if options.quick else (2000, 20_000)
    cache = options.scratch / "noise"
    used = [call("_storage", "memory", count=count, cache=str(cache), batch=options.batch) for count in sizes]
    shutil.rmtree(cache, ignore_errors=True)
    samples = {f"{count} images": [value] for count, value in zip(sizes, used, strict=True)}
    detail = ", ".join(f"{count:,} images: {value:,.0f} MB" for count, value in zip(sizes, used, strict=True))
    yield Row("private memory, growth", used[1] - used[0], "MB", 50, least=False, detail=detail, samples=samples)


def processes(options: Options, devices: int) -> Iterator[Row]:
    """Measure two processes against one with all cores (or one of two GPUs), with the same batch size per process."""
    name = "2 processes / 1 process"
    if devices < 2:
        yield Row(name, None, detail="needs two cores or two GPUs")
        return
    sides = {"two": lambda: pretraining_speed(options, 2), "one": lambda: pretraining_speed(options, 1)}
    yield compare(name, alternate(options.repeats, sides), "two", "one", 0.9, "images/s")
