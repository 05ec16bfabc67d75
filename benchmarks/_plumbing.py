"""What the measurements share: options, rows, fresh processes, and sides that alternate."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
PATIENCE = 1800  # seconds until a process counts as stuck


@dataclass(frozen=True)
class Options:
    """What is measured with.

    Attributes:
        images: The class folders.
        scratch: Where runs and stores go; deleted in the end.
        steps: Counted training steps per process.
        batch: Images per process and step.
        repeats: Of each side of the training measurements.
        quick: Whether only to show that everything runs.
    """

    images: Path
    scratch: Path
    steps: int
    batch: int
    repeats: int
    quick: bool


@dataclass
class Row:
    """One line of the table.

    Attributes:
        name: What was measured.
        value: Its median; None: not measured, `detail` says why.
        unit: Of the value.
        bar: What it should reach, if anything.
        least: Whether the bar is the least allowed, or else the most.
        detail: The sides of the comparison.
        samples: All values behind it, by name.
    """

    name: str
    value: float | None
    unit: str = "x"
    bar: float | None = None
    least: bool = True
    detail: str = ""
    samples: dict[str, list[float]] = field(default_factory=dict)

    @property
    def ok(self) -> bool | None:
        """Whether the bar is reached; None without a bar or a value."""
        if self.bar is None or self.value is None:
            return None
        return self.value >= self.bar if self.least else self.value <= self.bar


class FailedProcessError(Exception):
    """A process ended otherwise than it should; the message holds its output."""


def run(command: list[str], environment: dict[str, str] | None = None, expect: int = 0) -> Any:
    """Run a command in the project's folder; return what subprocess.run does, with `stdout` and `stderr` as text.

    Raises:
        FailedProcessError: It ended with another code than `expect`, or not at all.
    """
    shown = " ".join(command)
    env = os.environ | (environment or {})
    try:
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise FailedProcessError(f"{shown}\ndid not end in {PATIENCE} s\n{error.stdout}\n{error.stderr}") from None
    if done.returncode != expect:
        output = f"{done.stdout}{done.stderr}"
        raise FailedProcessError(f"{shown}\nended with code {done.returncode}, not {expect}:\n{output}")
    return done


def call(script: str, function: str, **arguments: Any) -> Any:
    """Call a function of a neighbouring script in a fresh process."""
    done = run([sys.executable, str(HERE / f"{script}.py"), function, json.dumps(arguments)])
    return json.loads(done.stdout.splitlines()[-1])


def alternate(repeats: int, sides: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure the sides in turn, there and back again (A B B A …), so that a machine's moods meet all alike."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(repeats):
        for name in list(sides) if number % 2 == 0 else reversed(sides):
            found[name].append(sides[name]())
            print(f"  {name}: {found[name][-1]:.4g}", file=sys.stderr, flush=True)
    return found


def compare(name: str, found: dict[str, list[float]], over: str, under: str, bar: float, unit: str) -> Row:
    """The median of the ratios of neighbours, `over` / `under`."""
    ratio = statistics.median(a / b for a, b in zip(found[over], found[under], strict=True))
    sides = " against ".join(f"{statistics.median(found[side]):,.4g}" for side in (over, under))
    samples = {over: found[over], under: found[under]}
    return Row(name, ratio, "x", bar, detail=f"{sides} {unit}", samples=samples)
