"""The jobs of a sweep: their overrides, their state, and whether they have to run again."""

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from fewlabels.core.atomic_io import spelled, write_text
from fewlabels.core.errors import UserError
from fewlabels.training.config_checks import ConfigError
from fewlabels.training.resume import CHANGEABLE, load_config
from fewlabels.training.run_dir import from_overrides

log = logging.getLogger(__name__)
IDENTITY = ("seed", "checkpoint", "method.", "data.", "backbone.")
"""How keys begin that make a job what it is."""
RUN_AGAIN = "Remove {} to run this job again: the others stay as they are."
FINISHED, FAILED, UNFINISHED = "finished", "failed", "unfinished"


class JobConflictError(ConfigError):
    """A job's directory belongs to another sweep. It is left unchanged; a sweep that runs job by job stops there."""


class Job(NamedTuple):
    """One job of a sweep, read from its directory.

    Attributes:
        directory: Of the job.
        overrides: Key to value, as on the command line.
        state: "finished", "failed" or "unfinished".
        error: The message of a failed job.
        results: Its results.json, if it finished.
    """

    directory: Path
    overrides: dict[str, str]
    state: str
    error: str
    results: dict[str, float]


def in_sweep() -> bool:
    """Whether this process runs a job of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def begin_job(cfg: DictConfig, directory: Path) -> bool:
    """Record a job's overrides in job.json; make `cfg` resume a job that was interrupted.

    Returns:
        Whether the job has finished already.

    Raises:
        JobConflictError: The directory holds a job of another sweep, or one that conf/ configured otherwise.
    """
    overrides = [str(override) for override in HydraConfig.get().overrides.task]
    digest = _checkpoint_digest(cfg.get("checkpoint"))
    if (directory / "job.json").exists():
        _check_same_job(cfg, directory, overrides, digest)
    if _finished_results(directory):
        log.info("Already finished, skipped: %s", " ".join(overrides))
        return True
    (directory / "results.json").unlink(missing_ok=True)  # damaged
    _write_record(directory, overrides, checkpoint_digest=digest)
    if "resume" in cfg and (directory / "config.yaml").is_file():
        cfg.resume = str(directory)
    return False


def _check_same_job(cfg: DictConfig, directory: Path, overrides: list[str], digest: str | None) -> None:
    """Refuse a directory whose job had other overrides, another initial network, or another configuration."""
    record, started = _read_record(directory), (directory / "config.yaml").is_file()
    if _comparable(record["overrides"]) != _comparable(overrides):
        raise JobConflictError(
            f"\nhydra.sweep.dir: {directory} holds a job of another sweep ({' '.join(record['overrides'])}; this one "
            f"is {' '.join(overrides)}). Give another hydra.sweep.dir, or the same settings to resume that sweep."
        )
    before = record.get("network")
    if started and before and digest and before != digest:
        raise JobConflictError(
            f"\ncheckpoint={cfg.checkpoint} holds other weights than when {directory} was started with it. Both would "
            "be compared as if they were one network: give another hydra.sweep.dir."
        )
    if started:
        check_unchanged(cfg, directory)


def check_unchanged(cfg: DictConfig, directory: Path) -> None:
    """Check that a job that is to be counted, or resumed, was started with the configuration of today.

    Raises:
        JobConflictError: A default in conf/ has changed since, or a setting that follows from the initial network.
    """
    if cfg.get("checkpoint") and not Path(cfg.checkpoint).exists():  # settings that follow from it are unknown
        return
    before, now = _identity(read_config(directory)), _identity(cfg)
    if changed := [key for key in before.keys() | now.keys() if before.get(key) != now.get(key)]:
        key = min(changed)
        raise JobConflictError(
            f"\nhydra.sweep.dir: {directory} was started with {key}={before.get(key)}; the same command line now means "
            f"{key}={now.get(key)}{f', and {len(changed) - 1} more differ' if changed[1:] else ''}. Results of both "
            "would be compared as if they had one configuration. Give another hydra.sweep.dir, or restore what was "
            "changed: conf/, or the config.yaml of the pretrained network."
        )


def _identity(cfg: DictConfig) -> dict[str, Any]:
    """What makes a run what it is, dotted key to value; paths, loggers and callbacks are left out."""
    flat: dict[str, Any] = {}
    nodes: list[tuple[str, Any]] = [("", OmegaConf.to_container(cfg, resolve=True))]
    for prefix, node in nodes:
        for name, value in node.items():
            key = f"{prefix}{name}"
            if isinstance(value, dict):
                nodes.append((f"{key}.", value))
            elif key == "trainer.max_epochs" or (key.startswith(IDENTITY) and not key.startswith(CHANGEABLE)):
                flat[key] = value
    return flat


def objective(cfg: DictConfig, directory: Path) -> float | None:
    """The value of a finished job that a hyperparameter search maximises; None without a search.

    Raises:
        ConfigError: results.json has no such metric.
    """
    if not cfg.get("objective"):
        return None
    results = json.loads((directory / "results.json").read_text())
    if cfg.objective not in results:
        raise ConfigError(f"\nobjective={cfg.objective} is not in {directory}/results.json: {', '.join(results)}.")
    return float(results[cfg.objective])


def record_failure(directory: Path, error: str) -> None:
    """Record the error of a failed job in its job.json."""
    _write_record(directory, [str(override) for override in HydraConfig.get().overrides.task], error)


def _write_record(directory: Path, overrides: list[str], error: str = "", checkpoint_digest: str | None = None) -> None:
    """Write job.json; a digest recorded earlier is kept if none is given."""
    known = _read_record(directory).get("network") if (directory / "job.json").is_file() else None
    digest = checkpoint_digest or known
    record = {"overrides": overrides, "error": error} | ({"network": digest} if digest else {})
    write_text(directory / "job.json", json.dumps(record, indent=2) + "\n")


def _comparable(overrides: list[str]) -> list[str]:
    """Without those that may change when a sweep is resumed: the rendezvous, the loggers."""
    return [override for override in overrides if not override.lstrip("+~").startswith(("launch.", "logger"))]


def _checkpoint_digest(checkpoint: Any) -> str | None:
    """SHA-256 of an initial checkpoint; None where there is none."""
    if not isinstance(checkpoint, str) or not checkpoint:
        return None
    from fewlabels.core.checkpoints import checkpoint_file, digest

    try:
        return digest(checkpoint_file(checkpoint))
    except UserError:  # the job reports a missing file
        return None


def _read_record(directory: Path) -> dict[str, Any]:
    """Read job.json.

    Raises:
        JobConflictError: It cannot be read.
    """
    file = directory / "job.json"
    try:
        record: dict[str, Any] = json.loads(file.read_text())
        return record | {"overrides": [str(o) for o in record["overrides"]], "error": str(record["error"])}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise JobConflictError(f"\n{file} is damaged ({error}). {RUN_AGAIN.format(directory)}") from None


def read_config(directory: Path) -> DictConfig:
    """Read the config.yaml of a job, with the names that this version uses.

    Raises:
        JobConflictError: It cannot be read.
    """
    file = directory / "config.yaml"
    try:
        config = load_config(file)
        if isinstance(config, DictConfig) and "data" in config:
            return config
        error: Any = "it is not the configuration of a run"
    except (OSError, YAMLError, UnicodeDecodeError) as found:
        error = str(found).replace("\n", " ")
    raise JobConflictError(f"\n{file} is damaged ({error}). {RUN_AGAIN.format(directory)}")


def read_jobs(sweep: Path) -> list[Job]:
    """The jobs that were started in a sweep's directory, in the order of their numbers."""
    found = sweep.rglob("job.json")  # a subdir with values in its name, such as checkpoint=runs/a, has several levels
    files = sorted(found, key=lambda file: (len(str(file.parent)), str(file.parent)))
    return [_read_job(file.parent) for file in files]


def _read_job(directory: Path) -> Job:
    record, results = _read_record(directory), _finished_results(directory)
    state = FINISHED if results else FAILED if record["error"] else UNFINISHED
    overrides = dict(_setting(override) for override in record["overrides"] if "=" in override)
    return Job(directory, overrides, state, "" if results else record["error"], results)


def _setting(override: str) -> tuple[str, str]:
    """Key and value of an override, as tables show it: without the quotes of Hydra's grammar, `spelled` in UTF-8."""
    key, _, value = override.lstrip("+~").partition("=")
    return key, spelled(str(from_overrides([f"value={value}"]).value) if value[:1] in ("'", '"') else value)


def _finished_results(directory: Path) -> dict[str, Any]:
    """A job's results; empty if it has not finished, or was killed while it wrote them."""
    try:
        found = json.loads((directory / "results.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def varied_keys(jobs: list[Job]) -> list[str]:
    """The keys whose values differ between jobs, in the order of the command line."""
    keys = dict.fromkeys(key for job in jobs for key in job.overrides)
    return [key for key in keys if len({job.overrides.get(key) for job in jobs}) > 1]
