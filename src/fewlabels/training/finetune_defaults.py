"""Finetuning settings that follow from the initial weights; docs/recipes.md has the measurements behind them."""

from omegaconf import DictConfig, OmegaConf

from fewlabels.training.run_dir import is_named_network, pretraining_method

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


def fill_finetune_defaults(cfg: DictConfig) -> None:
    """Set `method.backbone_lr` and `method.unfreeze_after` in place where they are null.

    `checkpoint=imagenet` becomes `backbone.weights=imagenet`, and `checkpoint=random` becomes `checkpoint=null`.
    """
    if is_named_network(cfg.checkpoint):
        cfg.backbone.weights = "imagenet" if cfg.checkpoint == "imagenet" else None
        cfg.checkpoint = None
    checkpoint = cfg.checkpoint if isinstance(cfg.checkpoint, str) and cfg.checkpoint else None
    pretrained = bool(checkpoint or OmegaConf.select(cfg, "backbone.weights"))
    method = pretraining_method(checkpoint) if checkpoint else None
    epochs = OmegaConf.select(cfg, "trainer.max_epochs")
    rate, after = finetune_defaults(method, pretrained=pretrained, epochs=epochs if isinstance(epochs, int) else None)
    if cfg.method.backbone_lr is None:
        cfg.method.backbone_lr = rate
    if cfg.method.unfreeze_after is None:
        cfg.method.unfreeze_after = after
