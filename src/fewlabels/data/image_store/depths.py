"""From an open image file to an upright image of 8 bits per channel, whatever its depth."""

import contextlib
import math
import sys
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile

from fewlabels.data.image_store.facts import (
    FACTS,
    FORMATS,
    WHITES,
    file_facts,
    has_deep_colours,
    has_metadata,
    raw_mode,
    without_standard_error,
)  # fmt: skip
from fewlabels.data.image_store.pixels import on_white

NPY = b"\x93NUMPY"
"""First bytes of an .npy file."""
SAMPLE_FORMAT, SIGNED = 339, 2
"""A tag of TIFF, and its value for signed whole numbers."""
NATIVE = {"F;32BF": "F;32NF", "I;16BS": "I;16NS", "I;32BS": "I;32NS"}
"""Pillow's raw modes of big-endian numbers, and the same in this machine's order."""
BITS, PHOTOMETRIC, SAMPLES, PLANAR, EXTRA_SAMPLES = 258, 262, 277, 284, 338
"""Tags of TIFF: bits of each channel; 0 if white is zero; the number of channels; 2 if each lies by itself; the meaning
of each beyond the colours, 0 if none is stated."""


def eight_bits(image: Image.Image, white: float | None = None) -> Image.Image:
    """An open image, upright, with 8 bits per channel: grey or colour, transparency on white.

    Args:
        image: Open, on the page to read, not loaded yet.
        white: See `Decoding`; None: that of this image alone.

    Raises:
        ValueError: It has floating-point values, and none is said to be white; or channels of no stated meaning.
    """
    turned, _ = load_upright(image, white)
    return on_white(turned, "L" if turned.mode in ("1", "L", "LA") else "RGB")


def load_upright(
    image: Image.Image, white: float | None, draft: tuple[str, tuple[int, int]] | None = None
) -> tuple[Image.Image, np.ndarray]:
    """Load an image, apply its EXIF orientation, and scale more than 8 bits to 8.

    Args:
        image: Open, on the page to read, not loaded yet.
        white: See `Decoding`.
        draft: Of JPEG: the mode and the size that are enough.

    Returns:
        The image, and its facts.

    Raises:
        ValueError: As of `eight_bits`.
    """
    _check_readable(image)
    low = _low_bytes(image) if has_deep_colours(image) else None
    _set_byte_order(image)
    facts = file_facts(image)  # may load it
    if draft and image.format == "JPEG":
        image.draft(*draft)
    tags, clear = getattr(image, "tag_v2", {}), image.info.get("transparency")
    signed, white_is_zero = tags.get(SAMPLE_FORMAT, (1,))[0] == SIGNED, tags.get(PHOTOMETRIC) == 0
    turned = upright(image)
    if image.mode == "L" and signed:
        values, white = np.asarray(turned).view(np.int8), 255
    elif facts["bits"] <= 8:
        return turned, facts
    elif low is not None:
        values = _deep_values(turned, low)
    else:  # Pillow has no mode of its own for 32 bits without a sign
        values = np.asarray(turned).view(np.uint32) if image.mode == "I" and not signed else np.asarray(turned)
    alpha = values.ndim == 3 and values.shape[2] in (2, 4)
    pixels = to_8_bits(values, white, facts, alpha=alpha, opaque=65535 if image.format == "PNG" else None)
    if clear is not None:
        clears = values == clear
        pixels[clears if values.ndim == 2 else clears.all(2)] = 255
    return Image.fromarray(255 - pixels if white_is_zero else pixels), facts


def load_channels(file: BinaryIO, channels: int, white: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Read channels as they are, without a thought for colours or transparency.

    Args:
        file: .npy, [H, W], [H, W, C] or [C, H, W] of uint8, uint16 or floating-point numbers; or an image whose number
            of channels in Pillow is C: LA, RGBA and CMYK.
        channels: C.
        white: See `Decoding`.

    Returns:
        uint8 [H, W, C], and the facts.

    Raises:
        ValueError: It has another number of channels, numbers of another kind, or such as `to_8_bits` refuses.
    """
    if file.read(6) == NPY:
        file.seek(0)
        values = _arranged(np.load(file, allow_pickle=False), channels)
        facts = np.zeros((), FACTS)
        facts["height"], facts["width"] = values.shape[:2]
        facts["pages"] = facts["orientation"] = 1
        facts["bits"], facts["real"] = 8 * values.itemsize, values.dtype.kind == "f"
        return values if values.dtype == np.uint8 else to_8_bits(values, white, facts), facts
    file.seek(0)
    with Image.open(file, formats=FORMATS) as image:
        if len(image.getbands()) != channels or raw_mode(image)[:4] in ("La", "RGBa"):
            raise ValueError(f"an image of mode {image.mode}, for data.channels={channels}; save such channels as .npy")
        _check_readable(image)
        if has_deep_colours(image):
            raise ValueError(f"{image.mode} of 16 bits, for data.channels={channels}; save such channels as .npy")
        facts = file_facts(image)
        return np.asarray(upright(image)), facts


def _arranged(values: np.ndarray, channels: int) -> np.ndarray:
    """[H, W], [H, W, C] or [C, H, W] as [H, W, C].

    Raises:
        ValueError: It is none of these, or it could be two, or has numbers of another kind.
    """
    shape = "x".join(map(str, values.shape)) or "a single number"
    if values.dtype.kind != "f" and values.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise ValueError(f"{values.dtype} in an .npy file: save uint8, uint16 or floating-point numbers")
    values = values[..., None] if values.ndim == 2 and channels == 1 else values
    last, first = (values.ndim == 3 and values.shape[axis] == channels for axis in (2, 0))
    if not (last or first) or not values.size:
        raise ValueError(
            f"an array of {shape}, for data.channels={channels}: give H x W x {channels} or {channels} x H x W"
        )
    if last and first and channels > 1:
        raise ValueError(
            f"an array of {shape} may be H x W x {channels} or {channels} x H x W: which one cannot be told"
        )
    values = values if last else np.moveaxis(values, 0, 2)
    return values.astype(values.dtype.newbyteorder("="))


def _check_readable(image: Image.Image) -> None:
    """Raise ValueError if Pillow would misread an image, drop a channel, or fail without saying why."""
    if not min(image.size):
        raise ValueError(f"no pixels: {image.size[0]} x {image.size[1]}")
    tags = getattr(image, "tag_v2", {})
    if spare := sum(kind == 0 for kind in tags.get(EXTRA_SAMPLES, ())):
        raise ValueError(
            f"{tags.get(SAMPLES, 1)} channels, {spare} of them without a stated meaning; as .npy they can be read"
        )
    if tags.get(PLANAR) == 2 and max(tags.get(BITS, (8,))) > 8 and tags.get(SAMPLES, 1) > 1:
        raise ValueError("colours of more than 8 bits, each in a plane of its own")  # Pillow misreads them


def upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation (loads the pixels)."""
    with without_standard_error() if image.format == "TIFF" else contextlib.nullcontext():
        image.load()
    return ImageOps.exif_transpose(image) if has_metadata(image) else image


def _set_byte_order(image: Image.Image) -> None:
    """Correct Pillow, which swaps bytes of big-endian TIFFs that libtiff has swapped already."""
    for place, tile in enumerate(tiles := getattr(image, "tile", [])):
        if tile.codec_name == "libtiff" and tile.args[0] in NATIVE:
            tiles[place] = tile._replace(args=(NATIVE[tile.args[0]], *tile.args[1:]))


def _low_bytes(image: Image.Image) -> Image.Image:
    """Open an image of 16-bit colours again so that Pillow gives the lower bytes: as if the bytes were swapped.

    "LA" is read as four channels: upper and lower byte of grey, and of its opacity.
    """
    file = cast("ImageFile", image)
    again: Any = Image.open(cast("BinaryIO", file.filename or file.fp))
    again.seek(image.tell())
    mode, _, order = raw_mode(image).partition(";16")
    native = "L" if sys.byteorder == "little" else "B"
    swapped = "RGBA" if mode == "LA" else f"{mode};16{'L' if (native if order == 'N' else order) == 'B' else 'B'}"
    again.tile = [
        tile._replace(args=(swapped, *tile.args[1:]) if isinstance(tile.args, tuple) else swapped)
        for tile in again.tile
    ]
    return again


def _deep_values(upper: Image.Image, low: Image.Image) -> np.ndarray:
    """The 16-bit values of colours, uint16 [H, W, 2, 3 or 4], from their upper bytes and `_low_bytes`."""
    alone = raw_mode(low) == "RGBA"
    lower = np.asarray(upright(low)).astype(np.uint16)
    low.close()
    if alone:
        return lower[..., 0::2] * np.uint16(256) + lower[..., 1::2]
    return np.asarray(upper).astype(np.uint16) * np.uint16(256) + lower


def to_8_bits(
    values: np.ndarray, white: float | None, facts: np.ndarray, *, alpha: bool = False, opaque: float | None = None
) -> np.ndarray:
    """Scale values of more than 8 bits: `white` or more becomes 255, negative values 0.

    Without a `white` that is 65535, or what 32 bits hold if a value is larger; and 1 of floating-point values.

    Args:
        values: [H, W], or [H, W, C].
        white: See `Decoding`.
        facts: Gets the least and the largest value.
        alpha: Whether the last channel is opacity.
        opaque: The opacity that is opaque; None: as white.

    Raises:
        ValueError: A floating-point value is none, or all are said by none to be white.
    """
    colours = values[..., :-1] if alpha else values
    facts["low"], facts["high"] = low, high = float(colours.min(initial=0)), float(colours.max(initial=0))
    if not math.isfinite(low + high):
        raise ValueError("a floating-point image with values that are no numbers")
    if white is None and facts["real"] and high > 1:
        raise ValueError(f"a floating-point image with values up to {high:g}: which of them is white? Give data.white")
    exact = values.astype(np.float64) if values.itemsize > 2 else values.astype(np.float32)
    white = white or (1.0 if facts["real"] else 65535 if high <= 65535 else WHITES[-1])
    scale = np.full(values.shape[2:], 255 / white, exact.dtype)
    if opaque and alpha:
        scale[-1] = 255 / opaque
    return np.rint(np.clip(exact * scale, 0, 255)).astype(np.uint8)
