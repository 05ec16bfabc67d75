"""Checks of the settings that every set of images has, and remarks on what was found."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice

from fewlabels.data.store import Source, Store
from fewlabels.errors import UserError

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey image (ITU-R BT.601)."""
MIN_SIZE = 8
"""Pixels that a ResNet's three halvings leave something of."""


def one_of(key: str, value: object, accepted: Sequence[object]) -> None:
    """Raise UserError unless the setting is one of those accepted."""
    if value not in accepted:
        raise UserError(f"data.{key}={value} must be one of {', '.join(map(str, accepted))}.")


def at_least(key: str, value: int, least: int, unit: str) -> None:
    """Raise UserError if the setting is below its least value."""
    if value < least:
        raise UserError(f"data.{key}={value}: give at least {least} {unit}.")


def normalisation(
    mean: Sequence[float], std: Sequence[float], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Fit mean and standard deviation, of pixels in [0, 1], to the number of channels.

    One value serves all channels; three become one in greyscale, weighted as the colours are.

    Raises:
        UserError: Another number of values, one that is no number, or a standard deviation that is not positive.
    """
    fitted = _per_channel("mean", mean, channels), _per_channel("std", std, channels)
    if min(fitted[1]) <= 0:
        raise UserError(f"data.std={list(std)}: pixels are divided by these, so give numbers above 0, such as 0.25.")
    return fitted


def remarks(name: str, source: Source, store: Store, remedy: str) -> Iterator[str]:
    """Say what nobody should overlook about the images of a set: that they were drawn, or cannot be read."""
    count, corrupt = len(store.paths), store.corrupt
    if source.synthetic:
        yield (
            f"SYNTHETIC DATA: the {count} images of {name} were drawn by the program; no result on them says "
            f"anything about real ones. For those give data.root=FOLDER{remedy}."
        )
    if corrupt:
        first = "; ".join(f"{path} ({reason})" for path, reason in islice(corrupt.items(), 5))
        yield f"{len(corrupt)} of {count + len(corrupt)} files cannot be read and are left out: {first}"


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
