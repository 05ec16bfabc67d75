"""Resuming: the configuration of an earlier run, its last checkpoint, and whether it can be continued exactly."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from fewlabels.core.errors import UserError
from fewlabels.training.config_checks import ConfigError
from fewlabels.training.run_dir import from_overrides, load_results, load_yaml

CHANGEABLE = ("trainer.", "logger.", "callbacks.", "launch.", "data.root", "data.cache_dir")
"""Keys that may change when a run is resumed."""


def resumed_config(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """The configuration that `resume=RUN_DIR` was started with, with this command line's overrides on top.

    Raises:
        ConfigError: There is no such run, or an override would make it another run.
    """
    saved = Path(cfg.resume) / "config.yaml"
    if not saved.is_file():
        raise ConfigError(f"\nresume={cfg.resume}: there is no {saved}. Give a run directory.")
    try:
        before = load_config(saved)
    except (YAMLError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"\nresume={cfg.resume}: {saved} cannot be read ({error}).") from None
    if "method" not in before or "data" not in before:
        raise ConfigError(f"\nresume={cfg.resume}: {saved} is not the configuration of a run.")
    _check_trusted(before, saved, cfg, overrides)
    OmegaConf.set_struct(before, True)
    for override in [override for override in overrides if not override.startswith("trust=")]:
        key = override.partition("=")[0]
        if not key.startswith(CHANGEABLE):
            raise ConfigError(
                f"\n{override} together with resume=: a resumed run keeps its {key}. Only "
                f"{', '.join(CHANGEABLE)}… may change. Remove {key}=, or start a new run."
            )
        try:
            before = OmegaConf.merge(before, from_overrides([override]))
        except OmegaConfBaseException as error:
            raise ConfigError(f"\n{override}: {error}") from None
    before.resume = cfg.resume
    return before


def _check_trusted(before: DictConfig, saved: Path, cfg: DictConfig, overrides: list[str]) -> None:
    """Check what a run's config.yaml would run: this project's, what conf/ names too, and what `trust=[…]` names."""
    from fewlabels.training.config_types import OF_A_RUN, check_targets

    trust = [str(name) for override in overrides if override.startswith("trust=")
             for name in from_overrides([override]).trust]  # fmt: skip
    named = _targets(OmegaConf.to_container(cfg))
    check_targets(OmegaConf.to_container(before), saved, trust=[*trust, *named], prefixes=OF_A_RUN)


def _targets(node: Any) -> list[str]:
    """All `_target_` in nested containers."""
    values = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
    own = [str(node["_target_"])] if isinstance(node, dict) and "_target_" in node else []
    return own + [target for value in values for target in _targets(value)]


def load_config(file: Path) -> Any:
    """Read a run's config.yaml, with the names that this version uses."""
    from fewlabels.core.checkpoints import upgrade_config

    loaded: Any = OmegaConf.to_container(load_yaml(file))
    return OmegaConf.create(upgrade_config(loaded) if isinstance(loaded, dict) else loaded)


def last_checkpoint(directory: Path) -> Path | None:
    """The checkpoint to resume from; None if the run saved none that can be resumed.

    Raises:
        UserError: The last checkpoint is missing although others exist.
    """
    from fewlabels.core.checkpoints import read_checkpoint

    last, finished = directory / "checkpoints" / "last.ckpt", (directory / "results.json").exists()
    resumable = lambda file: "optimizer_states" in read_checkpoint(file)[0]  # noqa: E731
    if last.is_file():
        return last if finished or resumable(last) else None  # a finished finetuning that lost its results starts anew
    others = sorted(last.parent.iterdir()) if last.parent.is_dir() else []
    if [file.name for file in others] == ["best.ckpt"] and not finished and not resumable(others[0]):
        return None  # a finetuning saves its best weights before its first resumable checkpoint
    if others:
        raise UserError(
            f"resume={directory}: {last} is missing, though other checkpoints exist. Restore it, or start a new run."
        )
    return None


def check_resumable(
    checkpoint: dict[str, Any], directory: Path, *, max_epochs: int, max_steps: int, fingerprint: str | None
) -> None:
    """Check that something is left to train, and that the images are those of the run.

    A run that trainer.max_time ended goes on with the same command; max_time counts anew.

    Args:
        checkpoint: The last checkpoint.
        directory: The run directory.
        max_epochs: Epochs in all, as now configured; -1 for no limit.
        max_steps: Likewise optimizer steps.
        fingerprint: Of the images that are there now.

    Raises:
        UserError: The run has finished, or `data.root` holds other images than it was started with.
    """
    done, steps = epochs_done(checkpoint), int(checkpoint["global_step"])
    before = checkpoint["fewlabels"]["config"]["trainer"]["max_epochs"]
    if "optimizer_states" not in checkpoint:
        raise UserError(
            f"resume={directory}: this finetuning finished after {done} epochs and did not keep its optimizer state, "
            "so it cannot be continued. Start a new one with a greater trainer.max_epochs."
        )
    ended = load_results(directory).get("epochs")
    early = done == ended and before and max_epochs <= before and _stopped_early(checkpoint)
    for key, count, limit in (("epochs", done, max_epochs), ("steps", steps, max_steps)):
        if count > limit > 0 or (ended is not None and (count == limit or (early and key == "epochs"))):
            raise UserError(
                f"resume={directory}: the run has done {count} {key}, and trainer.max_{key}={limit}: nothing is left "
                f"to do{' after early stopping' if early else ''}. To train longer give a greater number, such as "
                f"trainer.max_{key}={2 * max(count, (before or 0) * (key == 'epochs'))}."
            )
    trained_on = checkpoint["fewlabels"].get("images")
    if trained_on not in (None, fingerprint):
        raise UserError(
            f"resume={directory}: the images are not those that the run was started with ({fingerprint} now, "
            f"{trained_on} then), so it cannot be continued exactly. Give the data.root with the same files, or start "
            "a new run."
        )


def _stopped_early(checkpoint: dict[str, Any]) -> bool:
    """Whether EarlyStopping had ended the run."""
    states = [state for state in checkpoint.get("callbacks", {}).values() if isinstance(state, dict)]
    return any(state.get("stopped_epoch") or state.get("wait_count", 0) >= state.get("patience", 1) for state in states)


def epochs_done(checkpoint: dict[str, Any]) -> int:
    """How many epochs a checkpoint has completed."""
    return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
