"""Finetuning settings that follow from the initial weights; docs/recipes.md has the measurements behind them."""

from collections.abc import Sequence
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf, open_dict

from fewlabels.training.run_dir import IMAGENET, IMAGENET_SIZE, is_named_network, run_config

BACKBONE_LR = {"simclr": 0.1, "rotnet": 1.0}
"""Learning rate of a pretrained backbone, as a fraction of the head's, by pretraining method."""
OTHER_BACKBONE_LR = 0.3
"""Likewise after any other pretraining."""
MAX_HEAD_EPOCHS = 10


def finetune_defaults(method: str | None, *, pretrained: bool, epochs: int | None) -> tuple[float, int]:
    """`method.backbone_lr` and `method.unfreeze_after` where they are left at null.

    From scratch, and after RotNet, the backbone is trained at the head's rate from the first epoch. After other
    pretrainings the head is trained alone for a third of the epochs, at most `MAX_HEAD_EPOCHS`.

    Args:
        method: That trained the initial checkpoint; None if unknown.
        pretrained: Whether there are pretrained weights at all.
        epochs: Of the finetuning.
    """
    if not pretrained:
        return 1.0, 0
    rate = BACKBONE_LR.get(method or "", OTHER_BACKBONE_LR)
    return rate, 0 if rate == 1.0 else min(max(epochs or 0, 0) // 3, MAX_HEAD_EPOCHS)


def fill_finetune_defaults(cfg: DictConfig, typed: Sequence[str]) -> None:
    """Fill in, in place, what follows from the initial weights: the network, and settings that are null.

    `checkpoint=imagenet` becomes `backbone.weights=imagenet`, and `checkpoint=random` becomes `checkpoint=null`.

    Args:
        cfg: As in conf/finetune.yaml.
        typed: The overrides of the command line, which win.
    """
    named = str(cfg.checkpoint) if is_named_network(cfg.checkpoint) else None
    checkpoint = None if named or not isinstance(cfg.checkpoint, str) else cfg.checkpoint or None
    run = run_config(checkpoint) if checkpoint else {}
    _take_network(cfg, named, run, {override.partition("=")[0].lstrip("+~") for override in typed})
    if named:
        cfg.backbone.weights = "imagenet" if named == "imagenet" else None
        cfg.checkpoint = None
    pretrained = bool(checkpoint or OmegaConf.select(cfg, "backbone.weights"))
    epochs = OmegaConf.select(cfg, "trainer.max_epochs")
    rate, after = finetune_defaults(
        run.get("method", {}).get("name"), pretrained=pretrained, epochs=epochs if isinstance(epochs, int) else None
    )
    if cfg.method.backbone_lr is None:
        cfg.method.backbone_lr = rate
    if cfg.method.unfreeze_after is None:
        cfg.method.unfreeze_after = after


def _take_network(cfg: DictConfig, named: str | None, run: dict[str, Any], typed: set[str]) -> None:
    """Take the backbone of the initial weights, and the images that it was made for, unless the command line has them.

    Args:
        cfg: Changed in place.
        named: "imagenet" or "random", if the checkpoint is a named network.
        run: The configuration of the checkpoint's run, if it is one.
        typed: The keys of the command line.
    """
    if any(key.partition(".")[0] == "backbone" for key in typed):
        return
    data: dict[str, Any] = {}
    if named == "imagenet":
        backbone, data = compose("finetune", overrides=list(IMAGENET)).backbone, {"size": IMAGENET_SIZE}
    elif run.get("data", {}).get("modality") == "images":
        backbone, data = run["backbone"], {key: run["data"][key] for key in ("size", "channels", "mean", "std")}
    else:
        return
    with open_dict(cfg):
        cfg.backbone = backbone
    for key, value in data.items():
        if f"data.{key}" not in typed:
            cfg.data[key] = value
