"""Decode image files to uint8 squares.

Worker processes import this module. It must not import torch, which would add seconds to the start of every worker.
"""

import hashlib
import io
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

VERSION = 2  # part of every store's key: increase it when decoding changes any pixel, or the store its content
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP")
RESIZES = ("pad", "crop", "squash")
_REDUCING_GAP = 2.0  # a fast first reduction may leave the image this many times larger than the target


@dataclass(frozen=True)
class Target:
    """An array file under construction: uint8 rows of `shape`, starting at byte `offset`."""

    file: str
    offset: int
    shape: tuple[int, int, int]

    def position(self, row: int) -> int:
        """First byte of `row`."""
        return self.offset + row * math.prod(self.shape)

    def put(self, row: int, pixels: np.ndarray) -> None:
        """Write `pixels`, uint8 [n, *shape], to n rows starting at `row`.

        Uses a system call rather than a memory map: on a full disk this raises OSError, a map kills the process.
        """
        rest, position = np.ascontiguousarray(pixels).data.cast("B"), self.position(row)
        descriptor = os.open(self.file, os.O_WRONLY)
        try:
            while rest:
                written = os.pwrite(descriptor, rest, position)
                rest, position = rest[written:], position + written
        finally:
            os.close(descriptor)


def content_digest(content: bytes | memoryview) -> int:
    """64-bit digest of a file's bytes, as a signed integer (BLAKE2b). Among 10⁶ files two agree with chance 3e-8."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big", signed=True)


def decode(file: str | Path | BinaryIO, out: np.ndarray, resize: str) -> None:
    """Read one image, apply its EXIF orientation, composite it on white, resize it and write it to `out`.

    Args:
        file: The image file.
        out: uint8 [C, S, S] with C = 1 (greyscale) or 3 (colour), overwritten.
        resize: "pad" keeps the aspect ratio and all of the image: the longer side becomes S (small images are
            enlarged), and the rest is filled with the median of the border. "crop" takes the central square.
            "squash" ignores the aspect ratio.

    Raises:
        Exception: Whatever Pillow raises for a file that is not a complete, readable image.
    """
    channels, size, _ = out.shape
    with Image.open(file, formats=FORMATS) as image:
        width, height = _resized_shape(image.size, size, resize)
        if image.format == "JPEG":
            # Decodes at 1/2, 1/4 or 1/8, or luminance only, where the file allows it; otherwise does nothing.
            image.draft("L" if channels == 1 else "RGB", (int(width * _REDUCING_GAP), int(height * _REDUCING_GAP)))
        resize_into(_upright(image), out, resize)


def eight_bits(image: Image.Image) -> Image.Image:
    """An open image, upright, with 8 bits per channel: grey or colour, transparency on white, 65535 becomes 255.

    Raises:
        ValueError: It has floating-point values.
    """
    upright = _upright(image)
    return _convert(upright, "L" if upright.mode in ("1", "L", "LA") or upright.mode.startswith("I") else "RGB")


def resize_into(image: Image.Image, out: np.ndarray, resize: str) -> None:
    """Composite `image` on white, resize it and write it to `out`, uint8 [C, S, S]; see `decode`."""
    channels, size, _ = out.shape
    image = _convert(image, "L" if channels == 1 else "RGB")
    if resize == "pad":
        shape = _resized_shape(image.size, size, resize)
        _pad(image.resize(shape, Image.Resampling.BILINEAR, reducing_gap=_REDUCING_GAP), out)
        return
    box = _central_square(image.size) if resize == "crop" else None
    resized = image.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=_REDUCING_GAP)
    out[:] = _channels_first(resized)


def decode_rows(
    root: str, paths: Sequence[str], out: np.ndarray, resize: str
) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Decode `paths` (relative to `root`) into `out`, uint8 [n, C, S, S].

    Returns:
        Digests of the files, int64 [n], and {row: reason} of the unreadable ones.
    """
    digests, reasons = np.zeros(len(paths), np.int64), dict[int, str]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata in images that decode correctly
        for row, path in enumerate(paths):
            try:
                content = Path(f"{root}/{path}").read_bytes()
                digests[row] = content_digest(content)
                decode(io.BytesIO(content), out[row], resize)
            except Exception as error:  # Pillow raises many kinds of exceptions for damaged files
                reasons[row] = _reason(error)
    return digests, reasons


def decode_chunk(
    root: str, paths: list[str], resize: str, target: Target, start: int
) -> tuple[int, NDArray[np.int64], dict[int, str]]:
    """Decode `paths` and write them to the rows of `target` from `start` on.

    Returns:
        `start`, the digests of the files, and {row of `target`: reason} of the unreadable ones.

    Raises:
        OSError: `target` cannot be written, such as on a full disk.
    """
    out = np.zeros((len(paths), *target.shape), np.uint8)
    digests, reasons = decode_rows(root, paths, out, resize)
    target.put(start, out)
    return start, digests, {start + row: reason for row, reason in reasons.items()}


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image of a known format"
    return f"{type(error).__name__}: {error}"[:200]


def _resized_shape(shape: tuple[int, int], size: int, resize: str) -> tuple[int, int]:
    """(width, height) in pixels that an image of `shape` is resized to, before padding or cropping."""
    if resize == "squash":
        return size, size
    scale = size / (max(shape) if resize == "pad" else min(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _central_square(shape: tuple[int, int]) -> tuple[float, float, float, float]:
    side = min(shape)
    left, top = (shape[0] - side) / 2, (shape[1] - side) / 2
    return left, top, left + side, top + side


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation (loads the pixels)."""
    image.load()
    if image.format == "JPEG" and "exif" not in image.info and "xmp" not in image.info:
        return image  # skips the slower look-up for most files
    return ImageOps.exif_transpose(image)


def _convert(image: Image.Image, mode: str) -> Image.Image:
    """Convert any Pillow mode to `mode`, 8 bits per channel, transparency on white; grey stays "L" even for "RGB"."""
    if image.mode in ("L", mode) and "transparency" not in image.info:
        return image  # `out` broadcasts a single channel, so grey images are resized once instead of three times
    if image.mode == "F":
        raise ValueError("a floating-point image has no standard brightness range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        return _to_8_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode not in ("1", "L"):
        image = image.convert("RGB")  # palettes, CMYK and others cannot be converted to grey directly
    return image.convert(mode)


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Convert 16-bit grey to 8-bit: 65535 -> 255. A 32-bit image is treated as 16-bit unless a value exceeds 65535."""
    values = np.asarray(image)
    if values.itemsize > 2:
        values = values.astype(np.int32).view(np.uint32)
    divisor = 257 if values.max(initial=0) <= 0xFFFF else 0x01010101
    return Image.fromarray(np.rint(values / divisor).astype(np.uint8))


def _channels_first(image: Image.Image) -> np.ndarray:
    """[H, W] or [H, W, 3] pixels as [C, H, W]."""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _pad(image: Image.Image, out: np.ndarray) -> None:
    """Centre `image` in `out`, uint8 [C, S, S], on the median colour of its border."""
    pixels = _channels_first(image)
    _, height, width = pixels.shape
    size = out.shape[-1]
    if height != width:
        border = np.concatenate((pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]), axis=1)
        border.sort(axis=1)
        out[:] = border[:, border.shape[1] // 2, None, None]
    top, left = (size - height) // 2, (size - width) // 2
    out[:, top : top + height, left : left + width] = pixels
