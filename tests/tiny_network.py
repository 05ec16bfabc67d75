"""A small convolutional network that learns within seconds on one CPU core."""

from collections.abc import Sequence

from torch import nn

from fewlabels.core.backbones import Backbone


def tiny_network(
    *, channels: int, size: int, mean: Sequence[float], std: Sequence[float], widths: Sequence[int] = (32, 64, 128)
) -> Backbone:
    """Blocks of 3×3 convolution with stride 2, batch norm and ReLU; then global average pooling."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip([channels, *widths], widths, strict=False):
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1))
    return Backbone(body, channels=channels, size=size, mean=mean, std=std)
