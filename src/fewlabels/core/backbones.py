"""Backbones: torchvision classification models without their classifier, and an MLP for points.

A backbone is a plain `torch.nn.Module` that maps a normalised batch to embeddings [B, dim]. Its attributes describe its
input and output: `dim`, `size` (pixels, None for points), `channels`, `mean` and `std`.
"""

import difflib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fewlabels.core.errors import UserError

SMALL_IMAGE = 48
"""Images with a side below this, in pixels, get a ResNet stem without downsampling (CIFAR, He et al. 2016, §4.2)."""


class Backbone(nn.Module):
    """A network and a description of its input.

    Args:
        body: Maps [B, channels, size, size] images or [B, channels] points to [B, dim], or to [B, dim, 1, 1].
        channels: Channels of an image, or coordinates of a point.
        size: Side of the square images in pixels; None for points.
        mean: Per-channel mean for normalisation, of pixels in [0, 1].
        std: Per-channel standard deviation, likewise.

    Attributes:
        description: The builder and its arguments in plain containers; `load_backbone` rebuilds the network from it.

    Raises:
        UserError: The body does not accept this input.
    """

    def __init__(
        self, body: nn.Module, *, channels: int, size: int | None, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.body = body
        self.description: dict[str, Any] = {}
        self.channels, self.size = channels, size
        self.mean, self.std = tuple(mean), tuple(std)
        self.dim = self._probe_dim()

    def forward(self, x: Tensor) -> Tensor:
        """Embed normalised inputs [B, channels, size, size] (or [B, channels]) as [B, dim]."""
        return self.body(x).flatten(1)

    def normalise(self, x: Tensor) -> Tensor:
        """Normalise images [B, C, H, W], uint8 or float in [0, 1], for `forward`; points are returned unchanged."""
        if self.size is None:
            return x
        mean = torch.tensor(self.mean, device=x.device).view(-1, 1, 1)
        scale = 1 / torch.tensor(self.std, device=x.device).view(-1, 1, 1)
        if x.dtype == torch.uint8:
            return torch.addcmul(-mean * scale, x.float(), scale / 255)
        return torch.addcmul(-mean * scale, x, scale)

    def _probe_dim(self) -> int:
        shape = (2, self.channels) if self.size is None else (2, self.channels, self.size, self.size)
        training = self.body.training
        self.body.eval()
        try:
            with torch.no_grad():
                return self.body(torch.zeros(shape)).flatten(1).shape[1]
        except (RuntimeError, AssertionError, ValueError, TypeError, AttributeError) as error:
            raise UserError(
                f"backbone: this network does not accept inputs of shape {list(shape[1:])} ({error}). Change data.size "
                "or choose another backbone."
            ) from error
        finally:
            self.body.train(training)


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


def vision(
    *,
    name: str,
    channels: int,
    size: int | None,
    mean: Sequence[float],
    std: Sequence[float],
    weights: str | None = None,
    stem: bool | None = None,
) -> Backbone:
    """A torchvision classification model without its classifier.

    Args:
        name: torchvision's name: resnet18, efficientnet_v2_s, convnext_tiny, vit_b_16, …
        channels: Channels of an image, such as 1 (greyscale) or 3; sets those of the first convolution.
        size: Side of the images in pixels; below `SMALL_IMAGE` a ResNet gets a 3×3 stem without max-pooling.
        mean: Per-channel mean for normalisation, of pixels in [0, 1].
        std: Per-channel standard deviation, likewise.
        weights: Initial weights: None (random), `imagenet`, or a name of torchvision's weights enum.
        stem: Whether the stem may depend on the size; None: only if the weights are random.

    Raises:
        UserError: Unknown name or weights, points instead of images, or a size that the network does not accept.
    """
    if size is None:
        raise UserError(f"backbone.name={name} takes images, but the data are points. Use backbone=mlp.")
    body = _torchvision_model(name, weights, size)
    stem = weights is None if stem is None else stem
    if stem and size < SMALL_IMAGE and isinstance(getattr(body, "conv1", None), nn.Conv2d) and hasattr(body, "maxpool"):
        _replace_stem(body)
    _remove_classifier(body, name)
    if channels != 3:
        _adapt_channels(body, channels, keep_weights=weights is not None)
    backbone = Backbone(body, channels=channels, size=size, mean=mean, std=std)
    backbone.description = {
        "builder": "fewlabels.core.backbones:vision", "name": name, "channels": channels, "size": size,
        "mean": list(mean), "std": list(std), "stem": stem,
    }  # fmt: skip
    return backbone


def _torchvision_model(name: str, weights: str | None, size: int) -> Any:
    from torchvision import models

    names = models.list_models(module=models)
    if name not in names:
        close = difflib.get_close_matches(name, names, n=3) or ["resnet18"]
        raise UserError(
            f"backbone.name={name} is not a torchvision classification model. Did you mean {', '.join(close)}? "
            "torchvision.models.list_models() lists all."
        )
    options: dict[str, Any] = {"image_size": size} if name.startswith("vit_") and weights is None else {}
    if name in ("googlenet", "inception_v3"):
        options = {"transform_input": False, **({"init_weights": True} if weights is None else {})}
    enum = models.get_model_weights(name)
    choice = {"imagenet": "DEFAULT"}.get(str(weights).lower(), weights)
    if choice is not None and choice not in enum.__members__ and choice != "DEFAULT":
        raise UserError(
            f"backbone.weights={weights} does not exist for {name}. Use null, imagenet, or one of: "
            f"{', '.join(enum.__members__)}."
        )
    try:
        return _without_auxiliaries(models.get_model(name, weights=choice, **options))
    except OSError as error:
        raise UserError(
            f"backbone.weights={weights}: the weights of {name} could not be downloaded ({error}). Connect to the "
            "internet once, or start from random weights with backbone.weights=null."
        ) from error
    except (AssertionError, ValueError) as error:
        raise UserError(
            f"backbone.name={name} cannot be built for data.size={size} ({error}). Change one of them."
        ) from error


def _without_auxiliaries(body: Any) -> Any:
    """Remove the auxiliary classifiers of GoogLeNet and Inception, with which `forward` returns several tensors."""
    if hasattr(body, "aux_logits"):
        body.aux_logits = False
        for attribute in {"aux1", "aux2", "AuxLogits"} & dict(body.named_children()).keys():
            setattr(body, attribute, None)
    return body


def _replace_stem(body: Any) -> None:
    body.conv1 = nn.Conv2d(3, body.conv1.out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(body.conv1.weight, mode="fan_out", nonlinearity="relu")
    body.maxpool = nn.Identity()


def _remove_classifier(body: Any, name: str) -> None:
    """Remove the last linear layer and dropout directly before it; the output is then the embedding."""
    attribute = next((a for a in ("fc", "classifier", "heads", "head") if hasattr(body, a)), None)
    layer = getattr(body, attribute) if attribute else None
    if isinstance(layer, nn.Linear):
        setattr(body, str(attribute), nn.Identity())
        return
    layers = list(layer) if isinstance(layer, nn.Sequential) else []
    if not layers or not isinstance(layers[-1], nn.Linear):
        raise UserError(
            f"backbone.name={name} does not end in a linear classifier, which this project removes. Choose a network "
            "that does, such as resnet18, efficientnet_v2_s or convnext_tiny."
        )
    layers.pop()
    while layers and isinstance(layers[-1], nn.Dropout):
        layers.pop()
    setattr(body, str(attribute), nn.Sequential(*layers))


def _adapt_channels(body: nn.Module, channels: int, *, keep_weights: bool) -> None:
    """Replace the first convolution by one with `channels` input channels.

    With `keep_weights`, every channel of the new kernel is the sum of the old one over RGB, divided by `channels`: a
    greyscale image has the same output as its RGB copy had.
    """
    path, conv = next((name, module) for name, module in body.named_modules() if isinstance(module, nn.Conv2d))
    kernel, stride, padding = conv.kernel_size, conv.stride, conv.padding
    new = nn.Conv2d(channels, conv.out_channels, kernel, stride, padding, bias=conv.bias is not None)  # type: ignore[arg-type]
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    if keep_weights:
        with torch.no_grad():
            new.weight.copy_(conv.weight.sum(1, keepdim=True).expand_as(new.weight) / channels)
            if conv.bias is not None and new.bias is not None:
                new.bias.copy_(conv.bias)
    parent, _, leaf = path.rpartition(".")
    setattr(body.get_submodule(parent), leaf, new)


def blocks(backbone: Backbone, limit: int = 8) -> dict[str, nn.Module]:
    """Blocks of a backbone by name, from input to output: at most `limit`, evenly spaced.

    Raises:
        UserError: The blocks of this network are unknown.
    """
    body: Any = backbone.body
    if hasattr(body, "layer4"):
        return {f"block {k}": getattr(body, f"layer{k}") for k in range(1, 5)}
    stages = getattr(body, "features", None) or getattr(getattr(body, "encoder", None), "layers", None)
    if stages is None and isinstance(body, nn.Sequential):
        stages = body
    if stages is None:
        name = backbone.description.get("name", type(body).__name__)
        raise UserError(
            f"backbone={name}: its blocks are unknown; known are those of networks with layer1 … layer4, `features` or "
            "`encoder.layers`. Choose such a backbone, or leave out the layer-wise probe."
        )
    chosen = {round(k * (len(stages) - 1) / (limit - 1)) for k in range(limit)}  # all of them if there are no more
    return {f"block {k + 1}": stages[k] for k in sorted(chosen)}
