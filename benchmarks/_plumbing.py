"""Shared by the measurements: options, rows of the table, new processes, alternating sides."""

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
TIMEOUT = 1800
"""Seconds after which a process is stopped."""


@dataclass(frozen=True)
class Options:
    """Settings of the measurements.

    Attributes:
        images: Folder of images, one folder per class.
        scratch: Folder for runs and stores; deleted at the end.
        steps: Optimizer steps per process that are measured.
        batch: Images per device and step.
        repeats: Runs of each side of the training measurements.
        quick: Whether to check only that everything runs.
    """

    images: Path
    scratch: Path
    steps: int
    batch: int
    repeats: int
    quick: bool


@dataclass
class Row:
    """A row of the table.

    Attributes:
        name: What was measured.
        value: Median; None if it was not measured, for the reason in `detail`.
        unit: Of the value.
        target: The target, if there is one.
        least: Whether the target is a minimum; otherwise it is a maximum.
        detail: Medians of both sides.
        samples: All measured values, by side.
    """

    name: str
    value: float | None
    unit: str = "x"
    target: float | None = None
    least: bool = True
    detail: str = ""
    samples: dict[str, list[float]] = field(default_factory=dict)

    @property
    def ok(self) -> bool | None:
        """Whether the target is reached; None without a target or a value."""
        if self.target is None or self.value is None:
            return None
        return self.value >= self.target if self.least else self.value <= self.target


class FailedProcessError(Exception):
    """A process failed; the message has its output."""


def run(command: list[str], environment: dict[str, str] | None = None, expect: int = 0) -> Any:
    """Run a command in the project's folder; return the result of `subprocess.run`, with `stdout` and `stderr` as text.

    Raises:
        FailedProcessError: Its exit code is not `expect`, or it timed out.
    """
    shown = " ".join(command)
    env = os.environ | (environment or {})
    try:
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise FailedProcessError(f"{shown}\ntimed out after {TIMEOUT} s\n{error.stdout}\n{error.stderr}") from None
    if done.returncode != expect:
        output = f"{done.stdout}{done.stderr}"
        raise FailedProcessError(f"{shown}\nexit code {done.returncode}, expected {expect}:\n{output}")
    return done


def call(script: str, function: str, **arguments: Any) -> Any:
    """Call a function of another script of this folder in a new process."""
    done = run([sys.executable, str(HERE / f"{script}.py"), function, json.dumps(arguments)])
    return json.loads(done.stdout.splitlines()[-1])


def alternate(repeats: int, sides: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure all sides `repeats` times in the order A B B A …, so that changes of the machine affect all alike."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(repeats):
        for name in list(sides) if number % 2 == 0 else reversed(sides):
            found[name].append(sides[name]())
            print(f"  {name}: {found[name][-1]:.4g}", file=sys.stderr, flush=True)
    return found


def compare(name: str, found: dict[str, list[float]], over: str, under: str, target: float, unit: str) -> Row:
    """The median of `over` / `under` over neighbouring runs."""
    ratio = statistics.median(a / b for a, b in zip(found[over], found[under], strict=True))
    sides = " against ".join(f"{statistics.median(found[side]):,.4g}" for side in (over, under))
    samples = {over: found[over], under: found[under]}
    return Row(name, ratio, "x", target, detail=f"{sides} {unit}", samples=samples)
