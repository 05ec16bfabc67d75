"""Checks of the settings that all image datasets share, and notices about the images found."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.errors import UserError
from fewlabels.data.image_store.decode import RESIZES, Decoding
from fewlabels.data.image_store.facts import printable
from fewlabels.data.image_store.store import Source, Store
from fewlabels.data.splits.keys import SPLIT_BY

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a greyscale image (ITU-R BT.601)."""
MIN_SIZE = 8
"""Smallest side in pixels."""


def check_choice(key: str, value: object, accepted: Sequence[object]) -> None:
    """Raise UserError unless `data.<key>` is one of the accepted values."""
    if value not in accepted:
        raise UserError(f"data.{key}={value} must be one of {', '.join(map(str, accepted))}.")


def check_minimum(key: str, value: float, minimum: float, unit: str = "") -> None:
    """Raise UserError if `data.<key>` is below its minimum, or NaN."""
    if not value >= minimum:
        raise UserError(f"data.{key}={value}: give at least {minimum}{unit and f' {unit}'}.")


def check_image_settings(
    *,
    source: str,
    sources: Sequence[str],
    size: int,
    channels: int,
    batch_size: int,
    min_class_size: int,
    steps_per_epoch: int | None,
    split_by: str,
) -> None:
    """Raise UserError if a setting of an image dataset is out of range."""
    check_choice("source", source, sources)
    check_minimum("channels", channels, 1, "channel")
    check_choice("split_by", split_by, SPLIT_BY)
    check_minimum("size", size, MIN_SIZE, "pixels")
    check_minimum("batch_size", batch_size, 1, "image per device")
    check_minimum("min_class_size", min_class_size, 1, "image")
    if steps_per_epoch is not None:
        check_minimum("steps_per_epoch", steps_per_epoch, 1, "step, or null")


def decoding(resize: str, white: float | None, crop_edges: Sequence[int], pages: str) -> Decoding:
    """Check how files become pixels.

    Raises:
        UserError: A value is out of range.
    """
    check_choice("resize", resize, RESIZES)
    check_choice("pages", pages, ("first", "all"))
    if white is not None and not 0 < white < math.inf:
        raise UserError(f"data.white={white}: give the value that is white, above 0, such as 4095; or null to find it.")
    if len(crop_edges) != 4 or any(not isinstance(pixels, int) or pixels < 0 for pixels in crop_edges):
        raise UserError(
            f"data.crop_edges={list(crop_edges)}: give four numbers of pixels, [top,right,bottom,left], such as "
            "[0,0,40,0]."
        )
    top, right, bottom, left = crop_edges
    return Decoding(resize, white, (top, right, bottom, left), pages)


def normalisation(
    mean: Sequence[float], std: Sequence[float], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Convert mean and standard deviation, of pixels in [0, 1], to one value per channel.

    A single value is used for all channels. For greyscale, three values are combined with the weights of luminance.

    Raises:
        UserError: The number of values does not fit, a value is not finite, or a standard deviation is not positive.
    """
    per_channel = _per_channel("mean", mean, channels), _per_channel("std", std, channels)
    if min(per_channel[1]) <= 0:
        raise UserError(f"data.std={list(std)}: give values above 0, such as 0.25. Pixels are divided by them.")
    return per_channel


def _per_channel(key: str, values: Sequence[float], channels: int) -> tuple[float, ...]:
    if not all(map(math.isfinite, values)):
        raise UserError(f"data.{key}={list(values)}: give finite numbers, for pixels in [0, 1].")
    if len(values) == 3 and channels == 1:
        return (sum(weight * value for weight, value in zip(LUMINANCE, values, strict=True)),)
    if len(values) not in (1, channels):
        raise UserError(
            f"data.{key}={list(values)} has {len(values)} values for data.channels={channels}; give 1 or {channels}."
        )
    return tuple(float(value) for value in values) * (channels // len(values))


def remedy(sources: Sequence[str]) -> str:
    """The settings that give real images, for messages."""
    return "data.root=FOLDER" + (" or data.download=true" if "download" in sources else "")


def image_notices(name: str, source: Source, store: Store, sources: Sequence[str]) -> Iterator[str]:
    """Yield what every log and report must say about the images: that they are synthetic, corrupt, or read in part."""
    count, corrupt = len(store.paths), store.corrupt
    if source.synthetic:
        yield (
            f"SYNTHETIC DATA: the {count} images of {name} are synthetic; results on them say nothing about real "
            f"images. For real images give {remedy(sources)}."
        )
    yield from (*source.notices, *store.notices)
    if corrupt:
        examples = "; ".join(f"{printable(path)} ({reason})" for path, reason in islice(corrupt.items(), 5))
        yield f"{len(corrupt)} of {count + len(corrupt)} files cannot be read and are excluded: {examples}"


def excluded_notices(excluded: Sequence[str], sizes: Mapping[str, int], min_class_size: int) -> Iterator[str]:
    """Yield how many images of which classes are excluded, given the number of images of every class, if any are."""
    if excluded:
        examples = ", ".join(excluded[:3]) + (", …" if len(excluded) > 3 else "")
        yield (
            f"{sum(sizes[name] for name in excluded)} images of {len(excluded)} classes are excluded (fewer than "
            f"data.min_class_size={min_class_size} images, or not named in data.seen): {examples}"
        )


def copy_notices(paths: Sequence[str], digests: NDArray[np.int64], names: NDArray[np.object_]) -> Iterator[str]:
    """Yield how many images are exact copies of others, and how many of these are of different classes.

    Args:
        paths: [N].
        digests: int64 [N]; equal values are copies.
        names: [N] class names; "" means unlabelled.
    """
    unique, first, content = np.unique(digests, return_index=True, return_inverse=True)
    if len(unique) == len(digests):
        return
    copies = np.setdiff1d(np.arange(len(digests)), first)
    conflicts = [row for row in copies if "" != names[row] != names[first[content[row]]] != ""]
    row = conflicts[0] if conflicts else copies[0]
    example = printable(f"{paths[first[content[row]]]} and {paths[row]}")
    differ = f"; {len(conflicts)} of them with another class, so one of the two labels is wrong"
    yield (
        f"{len(copies)} of {len(digests)} images are exact copies of others{differ if conflicts else ''}, such as "
        f"{example}. Copies stay on one side of every split."
    )
