"""A composed configuration, checked before anything heavy is imported; and that of a run which goes on."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from fewlabels.errors import UserError

CHANGEABLE = ("trainer.", "logger.", "callbacks.", "launch.", "data.root", "data.cache_dir")
"""What a resumed run may be given anew."""
changes: list[str] = []
"""What this command line gives a resumed run anew."""


class Command(NamedTuple):
    """What sets one script apart from another.

    Attributes:
        config: Name of its file in conf/, without ".yaml".
        changes: Picks from the command line what is to change an earlier run's configuration, and not this one's.
        prepare: Checks the composed configuration, and completes it with those changes.
    """

    config: str
    changes: Callable[[list[str]], list[str]]
    prepare: Callable[[DictConfig], DictConfig]


class ConfigError(UserError, CompactHydraException):
    """A configuration that cannot be; Hydra prints its message without a traceback and exits with code 1."""


def run_dir() -> str:
    """The directory of the running job."""
    return str(HydraConfig.get().runtime.output_dir)


def is_first() -> bool:
    """Whether this is the first process of those that torchrun or SLURM started, or the only one."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


def resumed(cfg: DictConfig) -> DictConfig:
    """The configuration that `resume=RUN_DIR` was started with, with this command line's own changes on top.

    Raises:
        ConfigError: No run there, or a change of a whole group, which would be another run.
    """
    saved = Path(cfg.resume) / "config.yaml"
    if not saved.is_file():
        raise ConfigError(f"\nresume={cfg.resume}: there is no {saved}. Give the directory of a run that was begun.")
    try:
        before: Any = OmegaConf.load(saved)
    except (YAMLError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"\nresume={cfg.resume}: {saved} cannot be read ({error}).") from None
    if "method" not in before or "data" not in before:
        raise ConfigError(f"\nresume={cfg.resume}: {saved} is not the configuration of a run.")
    OmegaConf.set_struct(before, True)
    for change in changes:
        key, _, value = change.partition("=")
        if not key.startswith(CHANGEABLE):
            raise ConfigError(
                f"\n{change} together with resume=: a resumed run keeps its {key}, or it would be another run. It may "
                f"change {', '.join(CHANGEABLE)}… Leave {key}= away, or start anew."
            )
        try:
            before = OmegaConf.merge(before, OmegaConf.from_dotlist([f"{key}={value}"]))
        except OmegaConfBaseException as error:
            raise ConfigError(f"\n{change}: {error}") from None
    before.resume = cfg.resume
    return before


def check(cfg: DictConfig) -> None:
    """Check what spans several groups; what concerns one class alone is checked by its constructor.

    Raises:
        ConfigError: With the key, what it is, what it may be.
    """
    _positive(cfg, "trainer.max_epochs", "data.batch_size")
    if "checkpoint" in cfg:
        _check_start(cfg)
    if not isinstance(cfg.seed, int) or not 0 <= cfg.seed < 2**32:
        raise ConfigError(f"\nseed={cfg.seed}: give a whole number from 0 to {2**32 - 1}.")
    directory = Path(run_dir())
    begun = any((directory / name).exists() for name in ("checkpoints", "config.yaml"))
    if begun and is_first() and not cfg.get("resume"):  # the others come after its config.yaml
        raise ConfigError(
            f"\nhydra.run.dir={directory} already holds a run, and runs are never overwritten. "
            f"Choose another directory, or go on with resume={directory}."
        )
    if OmegaConf.select(cfg, "trainer.overfit_batches"):
        raise ConfigError("\ntrainer.overfit_batches is not supported. Use trainer.limit_train_batches=N instead.")
    if "method" not in cfg or "data" not in cfg:
        return
    kind, method, wanted = cfg.data.kind, cfg.method.called, cfg.method.accepts
    if kind not in wanted:
        raise ConfigError(
            f"\nmethod={method} works on {' and '.join(wanted)}, but data={cfg.data.called} are {kind}. "
            f"Try data={'plankton' if kind == 'points' else 'spirals'}, or method=siamese, which takes both."
        )
    network = "points" if cfg.backbone._target_.endswith(".mlp") else "images"
    if kind != network:
        raise ConfigError(
            f"\nThe backbone takes {network}, but data={cfg.data.called} are {kind}. "
            f"Use backbone={'mlp' if kind == 'points' else 'resnet18'}."
        )
    after, epochs = cfg.method.get("unfreeze_after"), OmegaConf.select(cfg, "trainer.max_epochs")
    if after is not None and not isinstance(after, int):
        raise ConfigError(f"\nmethod.unfreeze_after={after}: give a number of epochs, 0 or more.")
    if after and epochs and after >= epochs and cfg.method.backbone_lr:
        raise ConfigError(
            f"\nmethod.unfreeze_after={after} of trainer.max_epochs={epochs}: the backbone would never learn. Give "
            f"fewer epochs, such as {epochs // 3}, or freeze it for good with method.backbone_lr=0."
        )


def _check_start(cfg: DictConfig) -> None:
    """See that a finetuning says what it begins with, and will look at its validation images."""
    start, epochs = cfg.checkpoint, OmegaConf.select(cfg, "trainer.max_epochs") or math.inf
    if start is not None and not (isinstance(start, str) and start.strip()):
        raise ConfigError(
            f"\ncheckpoint={start}: give a run directory or a .ckpt file to begin with, or checkpoint=null to begin "
            "from scratch."
        )
    for key, fails in (
        ("limit_val_batches", lambda n: n == 0),
        ("check_val_every_n_epoch", lambda n: isinstance(n, int) and n > epochs),
    ):
        if fails(value := OmegaConf.select(cfg, f"trainer.{key}")):
            raise ConfigError(
                f"\ntrainer.{key}={value}: finetuning chooses its weights on validation images, so it has to look at "
                "them at least once. Leave this setting away."
            )


def _positive(cfg: DictConfig, *keys: str) -> None:
    for key in keys:
        value = OmegaConf.select(cfg, key)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ConfigError(f"\n{key}={value}: give a whole number of at least 1.")


def _changes_of_a_resumed_run(arguments: list[str]) -> list[str]:
    resumes = any(a.startswith("resume=") and a != "resume=null" for a in arguments)
    return [a for a in arguments if resumes and "=" in a and not a.startswith(("resume=", "hydra.", "-"))]


def _prepare_pretraining(cfg: DictConfig) -> DictConfig:
    cfg = resumed(cfg) if cfg.get("resume") else cfg
    check(cfg)
    return cfg


def _changes_of_the_data(arguments: list[str]) -> list[str]:
    return [a for a in arguments if a.startswith(("data=", "data."))]


def _prepare_evaluation(cfg: DictConfig) -> DictConfig:
    if (cfg.run is None) == (cfg.checkpoint is None):
        raise ConfigError("\nGive either run=RUN_DIR or checkpoint=FILE: what is to be looked at.")
    _positive(cfg, "draws", "max_samples")
    cfg.data = list(changes)
    return cfg


PRETRAIN = Command("pretrain", _changes_of_a_resumed_run, _prepare_pretraining)
FINETUNE = Command("finetune", _changes_of_a_resumed_run, _prepare_pretraining)
EVALUATE = Command("evaluate", _changes_of_the_data, _prepare_evaluation)
