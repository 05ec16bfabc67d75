"""The `${…:}` resolvers that conf/ uses, and where conf/ is."""

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from fewlabels.sweeps.jobs import in_sweep
from fewlabels.training.run_dir import is_named_network, program

RUNS = Path("runs")
"""The default folder of run directories, in the current directory."""
_PACKAGE = Path(__file__).parents[1]
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parents[1] / "conf"
"""The configurations: inside an installed package, or at the top of a checkout."""
held_back: list[str] = []
"""Overrides of this command line that change an earlier run's configuration; see `Command.held_back`."""


def config_groups(command: str) -> dict[str, list[str]]:
    """The config groups in a command's defaults list, and the choices of each.

    Files whose names begin with "_" are parts of others, and no choices.
    """
    defaults: list[Any] = yaml.safe_load((CONF / f"{command}.yaml").read_text())["defaults"]
    names = sorted(str(key) for entry in defaults if isinstance(entry, dict) for key in entry)
    return {name: sorted(f.stem for f in (CONF / name).glob("*.yaml") if f.name[0] != "_") for name in names}


def _list_groups(command: str) -> str:
    return "\n".join(f"  {name}: {', '.join(choices)}" for name, choices in config_groups(command).items())


def register_resolvers() -> None:
    """Register all resolvers with OmegaConf; may be called again."""
    moment = f"{datetime.now().astimezone():%Y-%m-%d_%H-%M-%S-%f}"  # microseconds keep simultaneous runs apart

    def run_dir(resume: str | None, method: str, data: str) -> str:
        return resume or f"{RUNS}/{method}-{data}/{moment}"

    def evaluation_dir(run: str | list[str] | None) -> str:
        """The run's own directory, unless other data or splits are evaluated, or several runs."""
        if is_named_network(run):
            return f"{RUNS}/{run}/{moment}"
        own = isinstance(run, str) and not any(c.startswith(("data=", "data.")) for c in held_back)
        return str(run) if own else f"{RUNS}/evaluate/{moment}"

    resolvers: dict[str, Callable[..., Any]] = {
        "run_dir": run_dir,
        "evaluation_dir": evaluation_dir,
        "command_dir": lambda command: f"{RUNS}/{command}/{moment}",
        "job_name": _job_name,
        "sweep_name": lambda: Path(HydraConfig.get().sweep.dir).name if in_sweep() else None,
        "config_groups": _list_groups,
        "program": lambda command: " ".join(program(command)),
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def _job_name() -> str | None:
    """The swept settings of a sweep's job, such as "temperature=0.1 batch_size=64"; None outside a sweep."""
    if not in_sweep():
        return None
    swept = {a.partition("=")[0] for a in sys.argv[1:] if "," in a or "range(" in a or "choice(" in a}
    job = [a.rpartition("=") for a in HydraConfig.get().overrides.task]
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, _, value in job if key in swept) or None
