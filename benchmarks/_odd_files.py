"""Odd and damaged image files, each with what its pixels must be.

What must be read is told by NumPy from the pixels that the file was made of, never by the code under test.
"""

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from _image_writers import png, tiff

SIDE = 32
"""Of all images but the large ones, and of the store: nothing is resized."""
LOSSY = {"jpg": 6.0, "webp": 8.0, "jp2": 1.0, "avif": 8.0}
"""Largest mean difference between an image and its lossy copy."""


class Odd(NamedTuple):
    """A file that is not damaged.

    Attributes:
        kind: What it is.
        extension: Of its name.
        content: Its bytes.
        pixels: What must be read, float [SIDE, SIDE, 3] of 0 to 255; None: it must be refused.
        tolerance: Largest mean absolute difference that is allowed.
    """

    kind: str
    extension: str
    content: bytes
    pixels: np.ndarray | None
    tolerance: float = 0.51


Make = Callable[[np.ndarray, np.random.Generator], Odd]


def saved(pixels: np.ndarray | Image.Image, format: str, **options: Any) -> bytes:  # noqa: A002 (Pillow's name)
    """The bytes of an image that Pillow writes."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer := io.BytesIO(), format, **options)
    return buffer.getvalue()


def grey(pixels: np.ndarray) -> np.ndarray:
    """The luminance of [..., 3] pixels (ITU-R BT.601), with three equal channels."""
    return np.repeat((pixels @ np.array([0.299, 0.587, 0.114]))[..., None], 3, axis=-1)


def shades(pixels: np.ndarray) -> np.ndarray:
    """The green channel as uint8 [SIDE, SIDE]."""
    return np.ascontiguousarray(pixels[..., 1])


def threefold(values: np.ndarray) -> np.ndarray:
    """[SIDE, SIDE] as [SIDE, SIDE, 3] floats."""
    return np.repeat(np.asarray(values, float)[..., None], 3, axis=2)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """What an image with an EXIF orientation shows (Exif 2.32, tag 0x0112), by NumPy."""
    return {
        1: lambda p: p, 2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud, 5: lambda p: p.swapaxes(0, 1),
        6: lambda p: np.rot90(p, -1), 7: lambda p: np.rot90(p, 2).swapaxes(0, 1), 8: np.rot90,
    }[orientation](pixels)  # fmt: skip


def plain(rgb: np.ndarray, draw: np.random.Generator) -> Odd:
    """Eight bits, in one of the formats, grey or colour, progressive or not."""
    extension = str(draw.choice(["jpg", "png", "bmp", "tif", "gif", "webp", "pgm", "ppm", "jp2", "avif"]))
    name = {"jpg": "JPEG", "tif": "TIFF", "pgm": "PPM", "jp2": "JPEG2000"}.get(extension, extension.upper())
    single = extension in ("pgm", "gif") or draw.random() < 0.3
    source = shades(rgb) if single else rgb
    options: dict[str, Any] = {}
    if extension == "jpg":
        options = {"quality": 95, "progressive": bool(draw.integers(2)), "subsampling": 0}
    if extension == "tif":
        compression = draw.choice(["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "tiff_deflate"])
        options = {"compression": str(compression), "big_tiff": bool(draw.integers(2))}
    if extension == "webp":
        options = {"lossless": bool(draw.integers(2)), "quality": 95}
    if extension == "avif":
        options = {"quality": 95, "subsampling": "4:4:4", "speed": 9}
    pixels = threefold(source) if single else rgb.astype(float)
    return Odd(
        f"{extension} 8 bits", extension, saved(source, name, **options), pixels, LOSSY.get(extension, 0.51)
    )  # fmt: skip


def orientation(rgb: np.ndarray, draw: np.random.Generator) -> Odd:
    """EXIF says how to turn it."""
    turn, extension = int(draw.integers(1, 9)), str(draw.choice(["jpg", "png", "tif", "webp", "avif"]))
    exif = Image.Exif()
    exif[0x0112] = turn
    name = {"jpg": "JPEG", "tif": "TIFF"}.get(extension, extension.upper())
    options = {"lossless": True} if extension == "webp" else {} if extension in ("png", "tif") else {"quality": 95}
    options |= {"subsampling": 0} if extension == "jpg" else {}
    content = saved(rgb, name, exif=exif, **options)
    return Odd(
        f"{extension} orientation", extension, content, turned(rgb, turn).astype(float), LOSSY.get(extension, 0.51)
    )


def large(rgb: np.ndarray, draw: np.random.Generator) -> Odd:
    """A JPEG of eight times the side, which is decoded at a lower resolution."""
    big = np.repeat(np.repeat(rgb, 8, axis=0), 8, axis=1)
    return Odd(
        "jpg large", "jpg", saved(big, "JPEG", quality=95, progressive=bool(draw.integers(2))), rgb.astype(float), 8
    )


def alpha(rgb: np.ndarray, draw: np.random.Generator) -> Odd:
    """Transparency, composited on white."""
    opacity = np.where(rgb[..., :1] > rgb[..., 1:2], 255, draw.integers(0, 255)).astype(np.uint8)
    extension = str(draw.choice(["png", "webp", "tif", "png LA"]))
    source = rgb if extension != "png LA" else np.repeat(rgb[..., 1:2], 3, 2)
    full = np.concatenate((source, opacity), axis=2)
    image = Image.fromarray(full)
    image = image.convert("LA") if extension == "png LA" else image
    options = {"lossless": True, "exact": True} if extension == "webp" else {}
    part = opacity.astype(float) / 255
    name = {"tif": "TIFF"}.get(extension, extension[:4].strip().upper())
    return Odd(
        f"{extension} alpha", extension[:4].strip(), saved(image, name, **options), source * part + 255 * (1 - part), 1
    )


def palette(rgb: np.ndarray, draw: np.random.Generator) -> Odd:
    """Sixteen colours, one of them perhaps transparent."""
    index = shades(rgb) // 16
    colours = draw.integers(0, 256, (16, 3), dtype=np.uint8)
    image = Image.fromarray(index).convert("P")
    image.putpalette(colours.tobytes())
    extension, clear = str(draw.choice(["png", "gif", "bmp", "tif"])), int(draw.integers(16))
    shown = colours[index].astype(float)
    options: dict[str, Any] = {}
    if extension in ("png", "gif") and draw.random() < 0.5:
        options, shown[index == clear] = {"transparency": clear}, 255
    name = {"tif": "TIFF"}.get(extension, extension.upper())
    return Odd(f"{extension} palette", extension, saved(image, name, **options), shown)


def few_bits(rgb: np.ndarray, draw: np.random.Generator) -> Odd:
    """PNG of 1, 2, 4 or 8 bits, interlaced or not; also of colours with 8 bits."""
    bits, adam7 = int(draw.choice([1, 2, 4, 8])), bool(draw.integers(2))
    if bits == 8 and draw.random() < 0.5:
        return Odd(f"png RGB Adam7={adam7}", "png", png(rgb, 8, adam7=adam7), rgb.astype(float))
    values = shades(rgb) >> (8 - bits)
    content = png(values[..., None], bits, adam7=adam7)
    return Odd(f"png {bits} bits", "png", content, threefold(np.rint(values * (255 / (2**bits - 1)))))


def one_bit(rgb: np.ndarray, draw: np.random.Generator) -> Odd:
    """Black and white, in formats of their own."""
    values = shades(rgb) > 127
    extension = str(draw.choice(["png", "bmp", "tif", "pbm", "gif"]))
    name = {"tif": "TIFF", "pbm": "PPM"}.get(extension, extension.upper())
    options = {"compression": str(draw.choice(["group3", "group4", "raw"]))} if extension == "tif" else {}
    return Odd(f"{extension} 1 bit", extension, saved(values, name, **options), threefold(values * 255))


def deep(rgb: np.ndarray, draw: np.random.Generator) -> Odd:
    """Grey of more than 8 bits: 10, 12, 14 or 16 bits in 16, or real numbers; perhaps signed, tiled, inverted."""
    white = int(draw.choice([1023, 4095, 16383, 65535]))
    values = np.rint(shades(rgb) * (white / 255)).astype(np.uint16)
    values[0, 0] = white
    expected = threefold(np.rint(values * (255 / white)))
    form = str(draw.choice(["png", "png Adam7", "tif", "pgm", "pgm plain", "jp2"]))
    if form.startswith("png"):
        return Odd(f"png {white}", "png", png(values[..., None], 16, adam7="7" in form), expected)
    if form == "jp2":
        full = np.rint(values * (65535 / white)).astype(np.uint16)
        return Odd("jp2 16 bits", "jp2", saved(full, "JPEG2000"), expected, 1)
    if form == "pgm":
        return Odd(
            "pgm 16 bits", "pgm", b"P5 %d %d %d\n" % (SIDE, SIDE, white) + values.astype(">u2").tobytes(), expected
        )
    if form == "pgm plain":
        text = " ".join(map(str, values.ravel().tolist())).encode()
        return Odd("pgm plain", "pgm", b"P2\n# a comment\n%d %d\n%d\n" % (SIDE, SIDE, white) + text, expected)
    types: list[Any] = [np.uint16, np.int32, np.uint32, np.float32]
    options: dict[str, Any] = {"order": str(draw.choice(["<", ">"])), "compressed": bool(draw.integers(2))}
    options |= {"tile": int(draw.choice([0, 16])), "photometric": int(draw.random() > 0.3)}
    kind = types[draw.integers(4)] if white < 65535 else np.uint16
    values = (values / white).astype(kind) if kind == np.float32 else values.astype(kind)
    if kind in (np.uint16, np.float32) or options["photometric"]:
        expected = expected if options["photometric"] else 255 - expected
    name = f"tif {np.dtype(kind)} {options['order']} {'' if options['photometric'] else 'inverted'}"
    content = tiff([values[..., None]], **options)
    unknown = kind == np.uint32 and options["order"] == ">"  # to Pillow, as some that are inverted
    unknown |= not options["photometric"] and (kind in (np.int32, np.uint32) or options["order"] == ">")
    return Odd(name, "tif", content, None if unknown and kind != np.float32 else expected)
