"""From an image file to a uint8 square, and the small process that does it beside others.

This module is run as `python -m fewlabels.data.decode` by `fewlabels.data.folder`, once per processor. It must not
import torch: that would cost every worker seconds before its first image.
"""

import json
import math
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

VERSION = 1  # part of every store's key: raise it when decoding changes a single pixel
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP")
RESIZES = ("pad", "crop", "squash")
_GAP = 2.0  # how many times larger than the target a cheap first reduction may leave the image


@dataclass(frozen=True)
class Target:
    """An array file under construction: rows of `shape`, uint8, from byte `offset` on."""

    file: str
    offset: int
    shape: tuple[int, int, int]

    def position(self, row: int) -> int:
        """Byte at which `row` begins."""
        return self.offset + row * math.prod(self.shape)

    def put(self, row: int, pixels: np.ndarray) -> None:
        """Write `pixels`, uint8 [n, *shape], to n rows from `row` on.

        By a system call and not through a memory map: on a full disk this raises OSError, a map kills the process.
        """
        rest, position = np.ascontiguousarray(pixels).data.cast("B"), self.position(row)
        descriptor = os.open(self.file, os.O_WRONLY)
        try:
            while rest:
                written = os.pwrite(descriptor, rest, position)
                rest, position = rest[written:], position + written
        finally:
            os.close(descriptor)


def decode(path: str | Path, out: np.ndarray, resize: str) -> None:
    """Read one image, turn it upright, flatten it onto white, resize it and write it to `out`.

    Args:
        path: The image file.
        out: uint8 [C, S, S] with C = 1 (greyscale) or 3 (colour), overwritten.
        resize: "pad" keeps the aspect and the whole image: its longer side becomes S, small images being
            enlarged, so that detail is alike in all of them and size is not seen; the rest is filled with
            the background, the median of the border. "crop" takes the central square. "squash" ignores the aspect.

    Raises:
        Exception: whatever Pillow raises on a file that is not a whole, readable image.
    """
    channels, size, _ = out.shape
    with Image.open(path, formats=FORMATS) as file:
        width, height = _fitted(file.size, size, resize)
        if file.format == "JPEG":
            # A no-op unless the file can be decoded at 1/2, 1/4 or 1/8, or as luminance alone, for less work.
            file.draft("L" if channels == 1 else "RGB", (int(width * _GAP), int(height * _GAP)))
        place(_upright(file), out, resize)


def place(image: Image.Image, out: np.ndarray, resize: str) -> None:
    """Flatten `image` onto white, resize it and write it to `out`, uint8 [C, S, S]; see `decode`."""
    channels, size, _ = out.shape
    image = _flat(image, "L" if channels == 1 else "RGB")
    if resize == "pad":
        target = _fitted(image.size, size, resize)
        _pad(image.resize(target, Image.Resampling.BILINEAR, reducing_gap=_GAP), out)
        return
    box = _central_square(image.size) if resize == "crop" else None
    small = image.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=_GAP)
    out[:] = _planes(small)


def decode_rows(root: str, paths: Sequence[str], out: np.ndarray, resize: str) -> dict[int, str]:
    """Decode `paths` (relative to `root`) into `out`, uint8 [n, C, S, S]; return the reasons of the unreadable ones."""
    reasons: dict[int, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata; what matters is whether pixels come out
        for row, path in enumerate(paths):
            try:
                decode(f"{root}/{path}", out[row], resize)
            except Exception as error:  # Pillow raises nearly anything on damaged files
                reasons[row] = _reason(error)
    return reasons


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image of a known format"
    return f"{type(error).__name__}: {error}"[:200]


def _fitted(shape: tuple[int, int], size: int, resize: str) -> tuple[int, int]:
    """(width, height) in pixels that an image of `shape` is resized to before padding or cropping."""
    if resize == "squash":
        return size, size
    scale = size / (max(shape) if resize == "pad" else min(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _central_square(shape: tuple[int, int]) -> tuple[float, float, float, float]:
    side = min(shape)
    left, top = (shape[0] - side) / 2, (shape[1] - side) / 2
    return left, top, left + side, top + side


def _upright(image: Image.Image) -> Image.Image:
    """Apply the orientation that a camera noted down (loads the pixels)."""
    image.load()
    if image.format == "JPEG" and "exif" not in image.info and "xmp" not in image.info:
        return image  # spares most files the slower look-up
    return ImageOps.exif_transpose(image)


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """Bring any Pillow mode to `mode`, 8 bits a channel, transparency on white; grey stays "L" even for "RGB"."""
    if image.mode in ("L", mode) and "transparency" not in image.info:
        return image  # `out` repeats a single plane, which spares grey images two thirds of the resizing
    if image.mode == "F":
        raise ValueError("a floating-point image has no agreed brightness range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        return _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode not in ("1", "L"):
        image = image.convert("RGB")  # palettes, CMYK and the like have no direct way to grey
    return image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey to 8-bit: 65535 -> 255. A 32-bit image counts as 16-bit unless it holds larger values."""
    values = np.asarray(image)
    if values.itemsize > 2:
        values = values.astype(np.int32).view(np.uint32)
    depth = 257 if values.max(initial=0) <= 0xFFFF else 0x01010101
    return Image.fromarray(np.rint(values / depth).astype(np.uint8))


def _planes(image: Image.Image) -> np.ndarray:
    """[H, W] or [H, W, 3] pixels as [C, H, W]."""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _pad(image: Image.Image, out: np.ndarray) -> None:
    """Centre `image` in `out`, uint8 [C, S, S], on the median colour of its border."""
    pixels = _planes(image)
    _, height, width = pixels.shape
    size = out.shape[-1]
    if height != width:
        border = np.concatenate((pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]), axis=1)
        border.sort(axis=1)
        out[:] = border[:, border.shape[1] // 2, None, None]
    top, left = (size - height) // 2, (size - width) // 2
    out[:, top : top + height, left : left + width] = pixels


def serve() -> None:
    """Decode what standard input asks for, until it closes.

    The first line is the job: {root, resize, file, offset, shape [C, S, S]}. Every further line, {start, paths}, is
    a run of rows; it is answered by {row: reason} of the unreadable images, or by {"errno": n} if writing failed.
    """
    job = json.loads(sys.stdin.readline())
    target = Target(job["file"], job["offset"], tuple(job["shape"]))
    for line in sys.stdin:
        ask = json.loads(line)
        out = np.zeros((len(ask["paths"]), *target.shape), np.uint8)
        answer: dict[str, object] = {
            str(ask["start"] + row): reason
            for row, reason in decode_rows(job["root"], ask["paths"], out, job["resize"]).items()
        }
        try:
            target.put(ask["start"], out)
        except OSError as error:
            answer = {"errno": error.errno}
        print(json.dumps(answer), flush=True)  # noqa: T201 (the answer IS standard output)


if __name__ == "__main__":
    serve()
