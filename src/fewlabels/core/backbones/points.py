"""A multilayer perceptron for points."""

from collections.abc import Sequence

from torch import nn

from fewlabels.core.backbones.backbone import Backbone
from fewlabels.core.errors import UserError


def mlp(
    *,
    channels: int,
    hidden: Sequence[int],
    dim: int,
    size: int | None = None,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
) -> Backbone:
    """A multilayer perceptron for points [B, channels]: hidden layers of widths `hidden` with GELU, then `dim` outputs.

    Raises:
        UserError: The data are images.
    """
    if size is not None:
        raise UserError(f"backbone=mlp takes points, but the data are images of {size} pixels. Use backbone=resnet18.")
    layers: list[nn.Module] = []
    for inputs, outputs in zip([channels, *hidden], [*hidden, dim], strict=False):
        layers += [nn.Linear(inputs, outputs), nn.GELU()]
    backbone = Backbone(nn.Sequential(*layers[:-1]), channels=channels, size=None, mean=mean, std=std)
    backbone.description = {
        "builder": "fewlabels.core.backbones:mlp", "channels": channels, "hidden": list(hidden), "dim": dim,
    }  # fmt: skip
    return backbone
