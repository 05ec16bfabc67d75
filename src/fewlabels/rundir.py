"""What a run leaves behind: config.yaml and results.json, and the command line that it came from."""

import json
import math
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fewlabels.files import write_whole


def save_config(config: dict[str, Any], directory: Path) -> None:
    """Write the resolved, complete configuration, headed by the command that made it."""
    directory.mkdir(parents=True, exist_ok=True)
    text = f"# {command_line()}\n{OmegaConf.to_yaml(OmegaConf.create(config))}"
    write_whole(directory / "config.yaml", text)


def save_results(metrics: Mapping[str, float], directory: Path) -> None:
    """Write results.json: one flat mapping of metric names to numbers."""
    numbers = {name: float(value) if not isinstance(value, int) else value for name, value in sorted(metrics.items())}
    write_whole(
        directory / "results.json", json.dumps({k: v for k, v in numbers.items() if math.isfinite(v)}, indent=2) + "\n"
    )


def run_of(run_or_checkpoint: str | Path) -> Path:
    """The directory of the run that a checkpoint is of, or which is named itself."""
    path = Path(run_or_checkpoint)
    return path if path.is_dir() else path.parent.parent


def pretrained_by(run_or_checkpoint: str | Path) -> str | None:
    """The method that made a checkpoint, as the config.yaml of its run tells; None if there is none."""
    saved = run_of(run_or_checkpoint) / "config.yaml"
    config: Any = OmegaConf.load(saved) if saved.is_file() else {}
    called = OmegaConf.select(config, "method.called") if config else None
    return str(called) if called else None


def script() -> str:
    """The script that is running; from a notebook or a test, the one that it stands in for."""
    return sys.argv[0] if Path(sys.argv[0]).suffix == ".py" and "launcher" not in sys.argv[0] else "src/pretrain.py"


def command_line() -> str:
    """What was typed to get here, or that nothing was."""
    return (
        shlex.join(["python", *sys.argv]) if script() == sys.argv[0] else "called from Python, not from a command line"
    )
