"""Timm's models without their classifier (Wightman 2019, PyTorch Image Models)."""

import difflib
import functools
import logging
from collections.abc import Sequence
from typing import Any

from fewlabels.core.backbones.backbone import Backbone
from fewlabels.core.backbones.weight_files import efficientnet_lite0, is_file_name, normalisation, read_weights
from fewlabels.core.errors import UserError

LITE0 = "tf_efficientnet_lite0"
"""Its ImageNet weights are in a package that is installed with this one, so that they need no network."""


def timm_model(
    *,
    name: str,
    channels: int,
    size: int | None,
    mean: Sequence[float],
    std: Sequence[float],
    weights: str | None = None,
    frozen_norms: bool | None = None,
) -> Backbone:
    """One of timm's models without its classifier.

    Args:
        name: timm's name, with or without the tag of its weights: tf_efficientnet_lite0, convnext_atto.d2_in1k,
            vit_small_patch14_dinov2.lvd142m, …
        channels: Channels of an image; other than 3 get pretrained weights of the first layer that are summed over RGB
            and divided by their number.
        size: Side of the images in pixels; a vision transformer is built for it.
        mean: Per-channel mean for normalisation, of pixels in [0, 1]; pretrained weights bring their own.
        std: Per-channel standard deviation, likewise.
        weights: Initial weights: None (random), `imagenet` (the pretrained weights that the name or its tag stands
            for, whatever they were trained on), or a file.
        frozen_norms: As in `Backbone`; None: if the weights are pretrained.

    Raises:
        UserError: Unknown name or weights, points instead of images, or a size that the network does not accept.
    """
    if size is None:
        raise UserError(f"backbone.name={name} takes images, but the data are points. Use backbone=mlp.")
    config = _pretrained_config(name)
    body = _create(name, weights, channels, {"img_size": size} if config.fixed_input_size else {})
    body.reset_classifier(0)
    if weights is not None:
        mean, std = normalisation(config.mean, config.std, channels)
    frozen = weights is not None if frozen_norms is None else frozen_norms
    backbone = Backbone(body, channels=channels, size=size, mean=mean, std=std, frozen_norms=frozen)
    return backbone.describe("fewlabels.core.backbones:timm_model", name=name)


def _pretrained_config(name: str) -> Any:
    import timm

    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(name, timm.list_models(), n=3) or [LITE0]
        raise UserError(
            f"backbone.name={name} is not a model of timm. Did you mean {', '.join(close)}? timm.list_models() lists "
            "all."
        )
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        known = timm.list_pretrained(f"{architecture}.*") or [architecture]
        raise UserError(f"backbone.name={name}: timm has no such weights. Use one of: {', '.join(known)}.") from error


def _create(name: str, weights: str | None, channels: int, options: dict[str, Any]) -> Any:
    """The model, with a classifier, which the weights are loaded with: timm loads strictly only so."""
    import timm

    overlay = {}
    if weights and is_file_name(weights):
        overlay = {"state_dict": read_weights(weights) | _random_classifier(name, options)}
    elif weights not in (None, "imagenet"):
        raise UserError(f"backbone.weights={weights} does not exist for timm's models. Use null, imagenet, or a file.")
    elif weights and name.partition(".")[0] == LITE0:
        overlay = {"state_dict": efficientnet_lite0(timm.create_model(name))}
    logging.getLogger("timm").setLevel(logging.WARNING)
    try:
        create = functools.partial(timm.create_model, name, pretrained_cfg_overlay=overlay, **options)
        if weights is None or channels in (1, 3):
            return create(pretrained=weights is not None, in_chans=channels)
        return _adapted(create(pretrained=True), create(in_chans=channels), channels)
    except (AssertionError, ValueError, TypeError) as error:
        sizes = ", ".join(f"{key}={value}" for key, value in options.items())
        raise UserError(
            f"backbone.name={name} cannot be built for data.channels={channels} {sizes} ({error}). Change one of them."
        ) from error
    except OSError as error:
        raise UserError(
            f"backbone.weights={weights}: the weights of {name} could not be downloaded ({error}). Connect to the "
            f"internet once, give a file, or use backbone=efficientnet_lite0, whose weights are installed."
        ) from error
    except RuntimeError as error:
        raise UserError(
            f"backbone.weights={weights}: not the weights of {name} ({' '.join(str(error).split())[:300]}). "
            "Give a file of this model's weights, or the name of the model that they belong to."
        ) from error


def _adapted(of_colours: Any, body: Any, channels: int) -> Any:
    """`body` with the weights of a network of colours: each channel's first ones are their sum over RGB / `channels`.

    timm repeats red, green and blue instead, so that the result would depend on the order of the channels.
    """
    state, first = of_colours.state_dict(), body.pretrained_cfg["first_conv"]
    for name in [first] if isinstance(first, str) else first:
        weight = state[f"{name}.weight"]
        state[f"{name}.weight"] = weight.sum(1, keepdim=True).repeat(1, channels, 1, 1) / channels
    body.load_state_dict(state)
    return body


def _random_classifier(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Weights for the classifier, which is removed: so a file may have another number of classes, or none."""
    import timm

    model: Any = timm.create_model(name, **options)
    weights = model.state_dict()
    model.reset_classifier(0)
    return {key: weights[key] for key in weights.keys() - model.state_dict().keys()}
