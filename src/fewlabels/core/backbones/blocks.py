"""Blocks of a backbone: for probes of its layers, and for their learning rates; and of which kind they are."""

from typing import Any

from torch import nn

from fewlabels.core.backbones.backbone import Backbone
from fewlabels.core.errors import UserError


def blocks(backbone: Backbone, limit: int = 8) -> dict[str, nn.Module]:
    """Blocks of a backbone by name, from input to output: at most `limit`, evenly spaced.

    Raises:
        UserError: The blocks of this network are unknown.
    """
    body: Any = backbone.body
    if hasattr(body, "layer4"):
        return {f"block {k}": getattr(body, f"layer{k}") for k in range(1, 5)}
    stages: Any = getattr(body, "features", None) or getattr(getattr(body, "encoder", None), "layers", None)
    if known := getattr(body, "feature_info", None):  # timm's
        stages = [body.get_submodule(stage["module"]) for stage in known]
    elif stages is None and isinstance(body, nn.Sequential):
        stages = body
    if stages is None:
        name = backbone.description.get("name", type(body).__name__)
        raise UserError(
            f"backbone={name}: its blocks are unknown; known are those of timm's networks, and of networks with layer1 "
            "… layer4, `features` or `encoder.layers`. Choose such a backbone, or do without them: leave out the "
            "layer-wise probe, and method.optimizer.layer_decay."
        )
    chosen = {round(k * (len(stages) - 1) / (limit - 1)) for k in range(limit)}  # all of them if there are no more
    return {f"block {k + 1}": stages[k] for k in sorted(chosen)}


def layers(backbone: Backbone) -> list[list[nn.Parameter]]:
    """All parameters from input to output: the stem's, those of each block, and those after the last block.

    What lies between two blocks is counted with the second.

    Raises:
        UserError: The blocks of this network are unknown.
    """
    found = list(blocks(backbone, limit=1000).values())
    block_of = {id(parameter): k for k, block in enumerate(found, 1) for parameter in block.parameters()}
    parts: list[list[nn.Parameter]] = [[] for _ in range(len(found) + 2)]
    current = 0  # block of the parameter before; parameters come in the order of their definition
    for parameter in backbone.parameters():
        number = block_of.get(id(parameter))
        current = current if number is None else number
        parts[current + (number is None and current > 0)].append(parameter)
    return [part for part in parts if part]


def is_mobile(backbone: nn.Module) -> bool:
    """Whether nearly all spatial convolutions have one small filter per channel, as in MobileNet and EfficientNet.

    ConvNeXt's filters per channel are large (7 x 7), and most of its time goes into its linear layers.
    """
    spatial = [m for m in backbone.modules() if isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1]
    small = [m for m in spatial if m.groups == m.in_channels > 3 and max(m.kernel_size) <= 5]
    return len(small) > 0.8 * len(spatial)
