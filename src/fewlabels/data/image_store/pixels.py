"""From an upright image of 8 bits to a uint8 square: cut, on white, resized."""

import numpy as np
from PIL import Image

REDUCING_GAP = 2.0
"""A fast first reduction may leave the image this many times larger than the target."""


def cut(image: Image.Image, edges: tuple[int, int, int, int]) -> Image.Image:
    """Cut off pixels: top, right, bottom, left.

    Raises:
        ValueError: None would be left.
    """
    top, right, bottom, left = edges
    if not any(edges):
        return image
    width, height = image.size
    if left + right >= width or top + bottom >= height:
        raise ValueError(f"{width} x {height} pixels are too few to cut off data.crop_edges={list(edges)}")
    return image.crop((left, top, width - right, height - bottom))


def resize_into(image: Image.Image, out: np.ndarray, resize: str) -> None:
    """Composite `image` on white, resize it and write it to `out`, uint8 [C, S, S]; see `Decoding`."""
    channels, size, _ = out.shape
    image = on_white(image, "L" if channels == 1 else "RGB")
    if resize == "pad":
        shape = resized_shape(image.size, size, resize)
        _pad(image.resize(shape, Image.Resampling.BILINEAR, reducing_gap=REDUCING_GAP), out)
        return
    box = _central_square(image.size) if resize == "crop" else None
    resized = image.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=REDUCING_GAP)
    out[:] = _channels_first(resized)


def resized_shape(shape: tuple[int, int], size: int, resize: str) -> tuple[int, int]:
    """(width, height) in pixels that an image of `shape` is resized to, before padding or cropping."""
    if resize == "squash":
        return size, size
    scale = size / (max(shape) if resize == "pad" else min(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _central_square(shape: tuple[int, int]) -> tuple[float, float, float, float]:
    side = min(shape)
    left, top = (shape[0] - side) / 2, (shape[1] - side) / 2
    return left, top, left + side, top + side


def on_white(image: Image.Image, mode: str) -> Image.Image:
    """Convert any Pillow mode to `mode`, 8 bits per channel, transparency on white; grey stays "L" even for "RGB"."""
    if image.mode in ("L", mode) and "transparency" not in image.info:
        return image  # `out` broadcasts a single channel, so grey images are resized once instead of three times
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode not in ("1", "L"):
        image = image.convert("RGB")  # palettes, CMYK and others cannot be converted to grey directly
    return image.convert(mode)


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
