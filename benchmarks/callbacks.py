"""Cost of the callbacks: pretraining with all of them at their defaults against pretraining without, on real images.

    python benchmarks/callbacks.py --images FOLDER [--epochs 20] [OVERRIDE ...]

Both runs have the same number of epochs, one after the other; the time in each callback's hooks is measured too. In 20
epochs, the longest default interval, every callback runs at least once. Nothing else should run on the machine.
"""

import argparse
import functools
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback

from fewlabels.cli.app import compose_config
from fewlabels.training import build
from fewlabels.training.fit import train

MEASURED = ("preview_views", "embedding_plots", "representation_quality", "probes")
"""Callbacks that only measure and draw; the run without them trains the same network."""
seconds_in: dict[str, float] = defaultdict(float)
"""Seconds in the hooks of each callback, by class name."""


def main() -> None:
    """Print the ratio of both run times, and the time of each callback."""
    arguments = parse()
    base = ["method=simclr", "data=flowers", f"data.root={arguments.images}", "logger=csv", "seed=0",
            "trainer.enable_progress_bar=false", f"trainer.max_epochs={arguments.epochs}",
            *arguments.overrides]  # fmt: skip
    without = run([*base, *(f"callbacks.{name}=null" for name in MEASURED)])
    seconds_in.clear()
    time_hooks()
    total = run(base)
    print(
        f"{arguments.epochs} epochs: {total:.0f} s with callbacks, {without:.0f} s without, ratio {total / without:.3f}"
    )
    for name, seconds in sorted(seconds_in.items(), key=lambda item: -item[1]):
        if seconds > 0.0005 * total:
            print(f"  {name:22} {seconds:6.1f} s, {seconds / (total - seconds):.1%} of the other time")


def run(overrides: list[str]) -> float:
    """Pretrain; returns the seconds that it takes."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        train(compose_config(*overrides), Path(folder) / "run")
        return time.perf_counter() - start


def time_hooks() -> None:
    """Wrap the hooks of every callback that is built from now on, to add up their time."""
    original = build.instantiate_node

    def instantiate_timed(node: dict[str, Any], key: str, **arguments: Any) -> Any:
        instance = original(node, key, **arguments)
        if isinstance(instance, Callback):
            for hook in (name for name in dir(instance) if name.startswith(("on_", "setup", "teardown"))):
                setattr(instance, hook, timed(type(instance).__name__, getattr(instance, hook)))
        return instance

    build.instantiate_node = instantiate_timed


def timed(name: str, hook: Callable[..., Any]) -> Callable[..., Any]:
    """The same hook, which adds its time to that of the callback."""

    @functools.wraps(hook)
    def call(*arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        try:
            return hook(*arguments, **named)
        finally:
            seconds_in[name] += time.perf_counter() - start

    return call


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of flowers, one folder per class")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("overrides", nargs="*", help="of the configuration")
    return parser.parse_args()


if __name__ == "__main__":
    main()
