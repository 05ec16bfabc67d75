"""provenance.jsonl: the command, code and machine of a run; a line is appended at each start and resume."""

import importlib.metadata
import json
import os
import platform
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

from fewlabels import __version__
from fewlabels.training.run_dir import command_line, recorded_command

FILE = "provenance.jsonl"
PACKAGES = ("torch", "torchvision", "lightning", "numpy", "scikit-learn", "umap-learn")
GIT_SECONDS = 10
"""Time that git may take; after it the state of a repository is left out."""
_SOURCE = Path(__file__).parents[1]


def record_start(directory: Path, *, devices: str, precision: str, resumed_step: int | None) -> None:
    """Append a line to the run's provenance.jsonl; earlier lines stay as they are.

    Args:
        directory: The run directory.
        devices: Number and name of the devices, such as "2 × NVIDIA H100".
        precision: As Lightning names it, such as "bf16-mixed".
        resumed_step: Optimizer step that the run continues from; None at its start.
    """
    line = {
        "date": f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}",
        "event": "start" if resumed_step is None else "resume",
        "step": resumed_step or 0,
        "command": command_line(),
        "git": git_states(),
        "devices": devices,
        "precision": precision,
        "versions": versions(),
    }
    file = directory / FILE
    cut = file.is_file() and not file.read_bytes().endswith(b"\n")  # the process was killed while it wrote
    with file.open("a", encoding="utf-8", errors="surrogateescape") as opened:
        opened.write("\n" * cut + json.dumps(line, ensure_ascii=False) + "\n")
        opened.flush()
        os.fsync(opened.fileno())


def load_provenance(directory: Path) -> list[dict[str, Any]]:
    """The lines of provenance.jsonl, oldest first; a line that was cut off by a kill is left out.

    A run of version 0.1 has no such file: its command is the first line of its config.yaml.
    """
    file = directory / FILE
    if not file.is_file():
        return [{"event": "start", "command": recorded_command(directory)}]
    lines = []
    for text in file.read_text(encoding="utf-8", errors="surrogateescape").split("\n"):
        try:
            lines.append(dict(json.loads(text)))
        except ValueError:
            continue
    return lines


def provenance_values(directory: Path) -> dict[str, str]:
    """The provenance of a run by name, for the table of a report: one value per start and resume."""
    values: dict[str, str] = {}
    for number, line in enumerate(load_provenance(directory)):
        name = "started" if not number else f"resumed ({number})"
        step = f", from step {line['step']}" if line.get("step") else ""
        when = f"{line['date']}{step}: " if "date" in line else ""
        values[name] = when + str(line["command"])
        values |= {
            f"{name}, {key}": text
            for key, text in (("code", _describe_git(line)), ("on", _describe_machine(line)))
            if text and text not in values.values()  # a resumption on the same code and machine adds one row
        }
    return values


def _describe_git(line: dict[str, Any]) -> str:
    marks = {True: " with uncommitted changes", False: "", None: " (unknown whether with changes)"}
    states = line.get("git", {}).items()
    return ", ".join(f"{name} at {state['commit'][:12]}{marks[state['dirty']]}" for name, state in states)


def _describe_machine(line: dict[str, Any]) -> str:
    found = [f"{name} {version}" for name, version in line.get("versions", {}).items()]
    return ", ".join([*(line[key] for key in ("devices", "precision") if key in line), *found])


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results."""
    found = {"python": platform.python_version(), "fewlabels": __version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def git_states() -> dict[str, dict[str, Any]]:
    """Commit and dirty flag of this project's repository and, if it is another one, of the current directory's.

    Returns:
        "project" and "directory", each with `commit` and `dirty`: whether tracked files differ from the commit, None if
        git took too long. A package that is installed without its repository, or a folder outside of any, has none.
    """
    roots = {name: _git(folder, "rev-parse", "--show-toplevel") for name, folder in
             (("project", _SOURCE), ("directory", Path.cwd()))}  # fmt: skip
    if not _git(_SOURCE, "ls-files", "__init__.py"):
        roots["project"] = None  # installed into a folder that a foreign repository ignores
    if roots["directory"] == roots["project"]:
        roots["directory"] = None
    states: dict[str, dict[str, Any]] = {}
    for name, root in roots.items():
        if root and (commit := _git(Path(root), "rev-parse", "HEAD")):
            changes = _git(Path(root), "status", "--porcelain", "--untracked-files=no")
            states[name] = {"commit": commit, "dirty": None if changes is None else bool(changes)}
    return states


def _git(folder: Path, *arguments: str) -> str | None:
    """What a git command prints; None if it fails, takes too long, or there is no git."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # of a hook
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], env=outside | {"GIT_OPTIONAL_LOCKS": "0"}, capture_output=True,
            text=True, timeout=GIT_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
