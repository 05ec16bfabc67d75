"""Torchvision's classification models without their classifier."""

import difflib
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from fewlabels.core.backbones.backbone import Backbone
from fewlabels.core.backbones.weight_files import is_file_name, normalisation, read_weights
from fewlabels.core.errors import UserError

SMALL_IMAGE = 48
"""Images with a side below this, in pixels, get a ResNet stem without downsampling (CIFAR, He et al. 2016, §4.2)."""
CLASSIFIERS = ("fc", "classifier", "heads", "head")
"""Attributes of torchvision's models that end in the classifier."""


def vision(
    *,
    name: str,
    channels: int,
    size: int | None,
    mean: Sequence[float],
    std: Sequence[float],
    weights: str | None = None,
    frozen_norms: bool | None = None,
    stem: bool | None = None,
) -> Backbone:
    """A torchvision classification model without its classifier.

    Args:
        name: torchvision's name: resnet18, efficientnet_v2_s, convnext_tiny, vit_b_16, …
        channels: Channels of an image; sets those of the first convolution.
        size: Side of the images in pixels; below `SMALL_IMAGE` a ResNet gets a 3×3 stem without max-pooling.
        mean: Per-channel mean for normalisation, of pixels in [0, 1]; torchvision's weights bring their own.
        std: Per-channel standard deviation, likewise.
        weights: Initial weights: None (random), `imagenet`, a name of torchvision's weights enum, or a file.
        stem: Whether the stem may depend on the size; None: only if the weights are random.
        frozen_norms: As in `Backbone`; None: if the weights are pretrained.

    Raises:
        UserError: Unknown name or weights, points instead of images, or a size that the network does not accept.
    """
    if size is None:
        raise UserError(f"backbone.name={name} takes images, but the data are points. Use backbone=mlp.")
    body, preset = _torchvision_model(name, weights, size)
    stem = weights is None if stem is None else stem
    if stem and size < SMALL_IMAGE:
        _replace_stem(body)
    _remove_classifier(body, name)
    _load_file(body, name, weights)
    if channels != 3:
        _adapt_channels(body, channels, keep_weights=weights is not None)
    mean, std = normalisation(preset.mean, preset.std, channels) if preset else (mean, std)
    frozen = weights is not None if frozen_norms is None else frozen_norms
    backbone = Backbone(body, channels=channels, size=size, mean=mean, std=std, frozen_norms=frozen)
    return backbone.describe("fewlabels.core.backbones:vision", name=name, stem=stem)


def _load_file(body: nn.Module, name: str, file: str | None) -> None:
    """Load a file's weights, all but those of the classifiers, which are removed; `file` may name none."""
    if file is None or not is_file_name(file):
        return
    ours, removed = body.state_dict().keys(), (*CLASSIFIERS, "aux1", "aux2", "AuxLogits")
    weights = {
        key: value for key, value in read_weights(file).items() if key in ours or key.partition(".")[0] not in removed
    }
    try:
        body.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"backbone.weights={file}: not the weights of torchvision's {name} ({' '.join(str(error).split())[:300]}). "
            "Give a file of this model's weights, or the name of the model that they belong to."
        ) from error


def _torchvision_model(name: str, weights: str | None, size: int) -> tuple[Any, Any]:
    """The model, and the preset of its weights, which has their mean and std; None for random weights."""
    from torchvision import models

    names, weights = models.list_models(module=models), None if is_file_name(weights) else weights
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
            f"backbone.weights={weights} does not exist for {name}. Use null, imagenet, a file, or one of: "
            f"{', '.join(enum.__members__)}."
        )
    preset = None if choice is None else getattr(enum, choice).transforms()
    try:
        return _without_auxiliaries(models.get_model(name, weights=choice, **options)), preset
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
    if not (isinstance(getattr(body, "conv1", None), nn.Conv2d) and hasattr(body, "maxpool")):
        return  # no ResNet
    body.conv1 = nn.Conv2d(3, body.conv1.out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(body.conv1.weight, mode="fan_out", nonlinearity="relu")
    body.maxpool = nn.Identity()


def _remove_classifier(body: Any, name: str) -> None:
    """Remove the last linear layer and dropout directly before it; the output is then the embedding."""
    attribute = next((a for a in CLASSIFIERS if hasattr(body, a)), None)
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
    greyscale image has the same output as its RGB copy had, and so have N equal channels.
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
