"""Checks of a composed configuration that span config groups; they run before torch is imported."""

import math
from collections.abc import Callable
from typing import Any

from hydra.errors import CompactHydraException
from omegaconf import DictConfig, OmegaConf

from fewlabels.core.errors import UserError
from fewlabels.training.run_dir import current_run_dir, is_rank_zero


class ConfigError(UserError, CompactHydraException):
    """An invalid configuration; in a sweep Hydra ends the failing job without a traceback."""


def check_config(cfg: DictConfig) -> None:
    """Check what one constructor alone cannot check.

    Raises:
        ConfigError: Names the key, its value, and what is accepted.
    """
    check_positive(cfg, "data.batch_size")
    check_positive(cfg, "trainer.max_epochs", least=1 if "checkpoint" in cfg else 0)  # 0: the network as it is
    if OmegaConf.select(cfg, "trainer.max_time") and OmegaConf.select(cfg, "trainer.max_epochs") is None:
        raise ConfigError(
            "\ntrainer.max_epochs=null with trainer.max_time: the learning-rate schedule needs a length. Give the "
            "number of epochs after which the run ends, even if max_time ends it before."
        )
    if "checkpoint" in cfg:
        _check_finetuning(cfg)
    if not isinstance(cfg.seed, int) or not 0 <= cfg.seed < 2**32:
        raise ConfigError(f"\nseed={cfg.seed}: give a whole number from 0 to {2**32 - 1}.")
    _check_new_directory(cfg)
    if OmegaConf.select(cfg, "trainer.overfit_batches"):
        raise ConfigError("\ntrainer.overfit_batches is not supported. Use trainer.limit_train_batches=N instead.")
    if "method" in cfg and "data" in cfg:
        _check_modality(cfg)
        _check_colours(cfg)
        _check_unfreezing(cfg)


def _check_new_directory(cfg: DictConfig) -> None:
    """Refuse to overwrite a run."""
    directory = current_run_dir()
    exists = any((directory / name).exists() for name in ("checkpoints", "config.yaml"))
    if exists and is_rank_zero() and not cfg.get("resume"):  # other ranks may come after rank 0 wrote config.yaml
        raise ConfigError(
            f"\nhydra.run.dir={directory} already holds a run, and runs are never overwritten. "
            f"Choose another directory, or continue this run with resume={directory}."
        )


def _check_modality(cfg: DictConfig) -> None:
    """Check that method, data and backbone are all for images, or all for points."""
    modality, method, accepted = cfg.data.modality, cfg.method.name, cfg.method.modalities
    if modality not in accepted:
        raise ConfigError(
            f"\nmethod={method} works on {' and '.join(accepted)}, but data={cfg.data.name} are {modality}. "
            f"Try data={'plankton' if modality == 'points' else 'spirals'}, or method=siamese, which accepts both."
        )
    backbone = "points" if cfg.backbone._target_.endswith(".mlp") else "images"
    if modality != backbone:
        raise ConfigError(
            f"\nThe backbone takes {backbone}, but data={cfg.data.name} are {modality}. "
            f"Use backbone={'mlp' if modality == 'points' else 'resnet18'}."
        )


def _check_colours(cfg: DictConfig) -> None:
    """Check that no view changes colours where channels are none."""
    views, channels = cfg.method.get("views") or {}, cfg.data.get("channels")
    jitter = ("saturation", "hue") if views.get("jitter", 1) else ()
    coloured = [key for key in (*jitter, "grey") if views.get(key)]
    where = "data.views" if OmegaConf.is_interpolation(cfg.method, "views") else "method.views"
    if cfg.data.modality == "images" and channels not in (1, 3) and coloured:
        raise ConfigError(
            f"\ndata.channels={channels}: only three channels are colours that views can change. Give "
            f"{' '.join(f'{where}.{key}=0' for key in coloured)}."
        )


def _check_unfreezing(cfg: DictConfig) -> None:
    """Check that a finetuned backbone is trained at all, unless it is frozen on purpose."""
    after, epochs = cfg.method.get("unfreeze_after"), OmegaConf.select(cfg, "trainer.max_epochs")
    if after is not None and not isinstance(after, int):
        raise ConfigError(f"\nmethod.unfreeze_after={after}: give a number of epochs, 0 or more.")
    if after and epochs and after >= epochs and cfg.method.backbone_lr:
        raise ConfigError(
            f"\nmethod.unfreeze_after={after} of trainer.max_epochs={epochs}: the backbone would never be trained. "
            f"Give fewer epochs, such as {epochs // 3}, or freeze it throughout with method.backbone_lr=0."
        )


def _check_finetuning(cfg: DictConfig) -> None:
    """Check that a finetuning names its initial weights, and that it validates."""
    start, epochs = cfg.checkpoint, OmegaConf.select(cfg, "trainer.max_epochs") or math.inf
    if start is not None and not (isinstance(start, str) and start.strip()):
        raise ConfigError(
            f"\ncheckpoint={start}: give a run directory or a .ckpt file to start from, or checkpoint=null to train "
            "from scratch."
        )
    never_validates: dict[str, Callable[[Any], bool]] = {
        "limit_val_batches": lambda n: n == 0,
        "check_val_every_n_epoch": lambda n: isinstance(n, int) and n > epochs,
    }
    for key, never in never_validates.items():
        if never(value := OmegaConf.select(cfg, f"trainer.{key}")):
            raise ConfigError(
                f"\ntrainer.{key}={value}: finetuning selects its weights on validation images, so it has to validate "
                "at least once. Remove this setting."
            )


def check_positive(cfg: DictConfig, *keys: str, least: int = 1) -> None:
    """Raise ConfigError unless the values of these keys are null or whole numbers of at least `least`."""
    for key in keys:
        value = OmegaConf.select(cfg, key)
        if value is not None and (not isinstance(value, int) or value < least):
            raise ConfigError(f"\n{key}={value}: give a whole number of at least {least}.")
