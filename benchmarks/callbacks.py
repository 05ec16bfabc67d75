"""What looking costs: pretraining with all callbacks at their defaults against pretraining without, on real images.

    python benchmarks/callbacks.py --images FOLDER [--epochs 20] [OVERRIDE ...]

Both run for so many epochs, one after the other; the time inside each callback's hooks is added up besides. Twenty
epochs are the longest default interval, so that everything happens once. Nothing else should run on the machine.
"""

import argparse
import functools
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback

from fewlabels import experiment
from fewlabels.application import configuration

LOOKING = ("views", "space", "health", "probes")
spent: dict[str, float] = defaultdict(float)


def main() -> None:
    """Print the ratio, and each callback's share of the time."""
    arguments = parse()
    base = ["method=simclr", "data=flowers", f"data.root={arguments.images}", "logger=csv", "seed=0",
            "trainer.enable_progress_bar=false", f"trainer.max_epochs={arguments.epochs}",
            *arguments.overrides]  # fmt: skip
    without = run([*base, *(f"callbacks.{name}=null" for name in LOOKING)])
    spent.clear()
    timed()
    together = run(base)
    seconds = f"{together:.0f} s with callbacks, {without:.0f} s without"
    print(f"{arguments.epochs} epochs: {seconds}, ratio {together / without:.3f}")
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        if seconds > 0.0005 * together:
            print(f"  {name:16} {seconds:6.1f} s, {seconds / (together - seconds):.1%} of the rest")


def run(overrides: list[str]) -> float:
    """Pretrain; seconds in all."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        experiment.train(configuration(*overrides), Path(folder) / "run")
        return time.perf_counter() - start


def timed() -> None:
    """Have the time inside every callback's hooks added up."""
    make = experiment.make

    def watched(node: dict[str, Any], **arguments: Any) -> Any:
        made = make(node, **arguments)
        if isinstance(made, Callback):
            for hook in (name for name in dir(made) if name.startswith(("on_", "setup", "teardown"))):
                setattr(made, hook, clocked(type(made).__name__, getattr(made, hook)))
        return made

    experiment.make = watched


def clocked(name: str, hook: Any) -> Any:
    """The same hook, its time added to the callback's."""

    @functools.wraps(hook)
    def call(*arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        try:
            return hook(*arguments, **named)
        finally:
            spent[name] += time.perf_counter() - start

    return call


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of flowers, class per folder")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("overrides", nargs="*", help="of the configuration")
    return parser.parse_args()


if __name__ == "__main__":
    main()
