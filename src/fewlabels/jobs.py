"""The jobs of a sweep: each knows what it was asked, what became of it, and whether it need be run again."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from fewlabels.config import CHANGEABLE, ConfigError
from fewlabels.files import write_whole

log = logging.getLogger(__name__)
KEPT = ("seed", "checkpoint", "method.", "data.", "backbone.")
AGAIN = "Remove {} to have this job done again: the others stay as they are."
FINISHED, FAILED, UNFINISHED = "finished", "failed", "unfinished"


class TakenError(ConfigError):
    """A job's directory belongs to another sweep. It is left as it is; a sweep that runs job by job ends there."""


class Job(NamedTuple):
    """One job of a sweep, as its directory tells.

    Attributes:
        directory: Of the job.
        overrides: Key to value, as on the command line.
        state: "finished", "failed" or "unfinished".
        error: What a failed one said.
        results: Its results.json, if it is finished.
    """

    directory: Path
    overrides: dict[str, str]
    state: str
    error: str
    results: dict[str, float]


def sweeping() -> bool:
    """Whether this process runs a job of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def begin(cfg: DictConfig, directory: Path) -> bool:
    """Note down what a sweep's job is asked; go on with one that was stopped.

    Returns:
        Whether it is finished already, and has nothing left to do.

    Raises:
        TakenError: The directory holds another job, of another sweep, or one that was begun when conf/ was another.
    """
    asked = [str(override) for override in HydraConfig.get().overrides.task]
    network = _digest(cfg.get("checkpoint"))
    if (directory / "job.json").exists():
        said, begun = _said(directory), (directory / "config.yaml").is_file()
        if _counted(before := said["overrides"]) != _counted(asked):
            raise TakenError(
                f"\nhydra.sweep.dir: {directory} holds a job of another sweep ({' '.join(before)}; this one is "
                f"{' '.join(asked)}). Give another hydra.sweep.dir, or the same settings to go on with that sweep."
            )
        if begun and said.get("network") and network and said["network"] != network:
            raise TakenError(
                f"\ncheckpoint={cfg.checkpoint} holds other weights than when {directory} began with it. Both would be "
                "compared as if they were one network: give another hydra.sweep.dir."
            )
        check_unchanged(cfg, directory)
    if _results(directory):
        log.info("Finished already, and not run again: %s", " ".join(asked))
        return True
    (directory / "results.json").unlink(missing_ok=True)  # damaged
    note(directory, asked, network=network)
    if "resume" in cfg and (directory / "config.yaml").is_file():
        cfg.resume = str(directory)
    return False


def check_unchanged(cfg: DictConfig, directory: Path) -> None:
    """See that a job which is to count, or to go on, was begun with what the same command line means today.

    Raises:
        TakenError: A default in conf/ has changed since, or what a setting follows from, such as a pretrained network.
    """
    if not (directory / "config.yaml").is_file():
        return
    if cfg.get("checkpoint") and not Path(cfg.checkpoint).exists():  # nobody knows what would follow from it
        return
    before, now = _flat(read_config(directory)), _flat(cfg)
    if changed := [key for key in before.keys() | now.keys() if before.get(key) != now.get(key)]:
        key = min(changed)
        raise TakenError(
            f"\nhydra.sweep.dir: {directory} was begun with {key}={before.get(key)}; the same command line now means "
            f"{key}={now.get(key)}{f', and {len(changed) - 1} more differ' if changed[1:] else ''}. Results of both "
            "would be compared as if they were of one recipe. Give another hydra.sweep.dir, or put back what was "
            "changed: conf/, or the config.yaml of the pretrained network."
        )


def _flat(cfg: DictConfig) -> dict[str, Any]:
    """What makes a run what it is, dotted key to value; where things lie and who watches is left out."""
    flat: dict[str, Any] = {}
    nodes: list[tuple[str, Any]] = [("", OmegaConf.to_container(cfg, resolve=True))]
    for above, node in nodes:
        for name, value in node.items():
            key = f"{above}{name}"
            if isinstance(value, dict):
                nodes.append((f"{key}.", value))
            elif key == "trainer.max_epochs" or (key.startswith(KEPT) and not key.startswith(CHANGEABLE)):
                flat[key] = value
    return flat


def objective(cfg: DictConfig, directory: Path) -> float | None:
    """What a search is to make as large as it can, of a finished job; None where nothing is searched.

    Raises:
        ConfigError: results.json has no such number.
    """
    if not cfg.get("objective"):
        return None
    results = json.loads((directory / "results.json").read_text())
    if cfg.objective not in results:
        raise ConfigError(f"\nobjective={cfg.objective} is not in {directory}/results.json: {', '.join(results)}.")
    return float(results[cfg.objective])


def note(directory: Path, asked: list[str], error: str = "", network: str | None = None) -> None:
    """Write job.json: what a job was asked, what it failed of, and a digest of the network that it began with.

    A digest that is there already stays, if none is given.
    """
    network = network or (_said(directory).get("network") if (directory / "job.json").is_file() else None)
    said = {"overrides": asked, "error": error} | ({"network": network} if network else {})
    write_whole(directory / "job.json", json.dumps(said, indent=2) + "\n")


def failed(directory: Path, error: str) -> None:
    """Note down what a job failed of."""
    note(directory, [str(override) for override in HydraConfig.get().overrides.task], error)


def _counted(overrides: list[str]) -> list[str]:
    """Without what may change when a sweep goes on: another meeting point, another logger."""
    return [override for override in overrides if not override.lstrip("+~").startswith(("launch.", "logger"))]


def _digest(checkpoint: Any) -> str | None:
    """Tells whether a network is still the same; nothing where there is none."""
    path = Path(checkpoint) if isinstance(checkpoint, str) and checkpoint else None
    file = path / "checkpoints" / "last.ckpt" if path and path.is_dir() else path
    if not file or not file.is_file():
        return None
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _said(directory: Path) -> dict[str, Any]:
    """What job.json holds.

    Raises:
        TakenError: It cannot be read.
    """
    file = directory / "job.json"
    try:
        said: dict[str, Any] = json.loads(file.read_text())
        return said | {"overrides": [str(override) for override in said["overrides"]], "error": str(said["error"])}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TakenError(f"\n{file} is damaged ({error}). {AGAIN.format(directory)}") from None


def read_config(directory: Path) -> DictConfig:
    """The config.yaml of a job.

    Raises:
        TakenError: It cannot be read.
    """
    file = directory / "config.yaml"
    try:
        config = OmegaConf.load(file)
        if isinstance(config, DictConfig) and "data" in config:
            return config
        error: Any = "it is not a run's configuration"
    except (OSError, YAMLError, UnicodeDecodeError) as found:
        error = str(found).replace("\n", " ")
    raise TakenError(f"\n{file} is damaged ({error}). {AGAIN.format(directory)}")


def read_jobs(sweep: Path) -> list[Job]:
    """The jobs that have begun in a sweep's directory, in the order of their numbers."""
    files = sorted(sweep.glob("*/job.json"), key=lambda file: (len(file.parent.name), file.parent.name))
    return [_read(file.parent) for file in files]


def _read(directory: Path) -> Job:
    said, found = _said(directory), _results(directory)
    state = FINISHED if found else FAILED if said["error"] else UNFINISHED
    overrides = dict(override.lstrip("+~").split("=", 1) for override in said["overrides"] if "=" in override)
    return Job(directory, overrides, state, "" if found else said["error"], found)


def _results(directory: Path) -> dict[str, Any]:
    """What a job found; nothing if it has not ended, or was cut off while writing that down."""
    try:
        found = json.loads((directory / "results.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def varied(jobs: list[Job]) -> list[str]:
    """The keys whose values differ among the jobs, in the order of the command line."""
    keys = dict.fromkeys(key for job in jobs for key in job.overrides)
    return [key for key in keys if len({job.overrides.get(key) for job in jobs}) > 1]
