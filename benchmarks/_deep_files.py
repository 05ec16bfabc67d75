"""Odd image files, continued: deep colours, signed and real numbers, pages, tiles, bands without a meaning."""

import io
from typing import Any

import numpy as np
from PIL import Image

import _odd_files as odd
from _image_writers import png, tiff
from _odd_files import SIDE, Make, Odd, plain, saved, shades, threefold, turned


def deep_colour(rgb: np.ndarray, draw: np.random.Generator) -> Odd:
    """Colours of 10 to 16 bits in 16, with one channel that is transparency perhaps."""
    white = int(draw.choice([1023, 4095, 65535]))
    values = np.rint(rgb * (white / 255)).astype(np.uint16)
    values[0, 0] = white
    expected = np.rint(values * (255 / white))
    form = str(draw.choice(["png", "png Adam7", "tif", "tif alpha", "png alpha", "png LA", "ppm"]))
    if form == "ppm":
        return Odd(
            f"ppm {white}", "ppm", b"P6 %d %d %d\n" % (SIDE, SIDE, white) + values.astype(">u2").tobytes(), expected, 1
        )
    opacity = np.full((SIDE, SIDE, 1), 65535 if form.startswith("png") else white, np.uint16)
    opacity[: SIDE // 2] = 0
    if "alpha" in form or "LA" in form:
        expected[: SIDE // 2] = 255
    order = str(draw.choice(["<", ">"]))
    if form == "png LA":
        values, expected = np.concatenate((values[..., 1:2], opacity), 2), np.repeat(expected[..., 1:2], 3, 2)
    elif "alpha" in form:
        values = np.concatenate((values, opacity), 2)
    options: dict[str, Any] = {"order": order, "photometric": 2, "compressed": bool(draw.integers(2))}
    extra, planar = [2] if "alpha" in form else [], "tif" in form and draw.random() < 0.2
    options["planar"] = planar
    content = png(values, 16, adam7="7" in form) if "png" in form else tiff([values], extra=extra, **options)
    name = f"{form} colour {white} {'in planes' if planar else ''}"
    return Odd(name, form[:3], content, None if planar else expected, 0.6)


def signed(rgb: np.ndarray, draw: np.random.Generator) -> Odd:
    """Signed whole numbers of 8, 16 or 32 bits; negative ones are black."""
    kind = [np.int8, np.int16, np.int32][draw.integers(3)]
    white = 127 if kind == np.int8 else 4095
    values = np.rint(shades(rgb) * (white / 255)).astype(kind)
    values[0, 0], values[1, 1] = white, -5
    scale = 255 / (255 if white == 127 else white)
    content = tiff([values[..., None]], order=str(draw.choice(["<", ">"])), compressed=bool(draw.integers(2)))
    return Odd(f"tif {np.dtype(kind)}", "tif", content, threefold(np.rint(np.maximum(values, 0) * scale)))


def no_number(rgb: np.ndarray, draw: np.random.Generator) -> Odd:
    """Real numbers that are none, or infinite, or above 1 with no white given; also of 16 and 64 bits."""
    values = shades(rgb).astype([np.float32, np.float64, np.float16][draw.integers(3)]) / 255
    values[3, 3] = [np.nan, np.inf, -np.inf, 7][draw.integers(4)]
    return Odd(f"tif {values.dtype} without a white", "tif", tiff([values[..., None]]), None)


def colour_tiff(rgb: np.ndarray, draw: np.random.Generator) -> Odd:
    """Colours by tiles, strips or planes, in both byte orders; turned."""
    options: dict[str, Any] = {
        "order": str(draw.choice(["<", ">"])),
        "tile": int(draw.choice([0, 16])),
        "photometric": 2,
    }
    options |= {"planar": bool(draw.integers(2)), "compressed": bool(draw.integers(2))}
    turn = int(draw.integers(1, 9))
    name = f"tif tile={options['tile']} planar={options['planar']}"
    return Odd(name, "tif", tiff([rgb], orientation=turn, **options), turned(rgb, turn).astype(float))


def cmyk(rgb: np.ndarray, draw: np.random.Generator) -> Odd:
    """Four inks, none of them black; JPEG stores them inverted."""
    image = Image.merge("CMYK", [*Image.fromarray(255 - rgb).split(), Image.new("L", (SIDE, SIDE), 0)])
    extension = str(draw.choice(["jpg", "tif"]))
    content = saved(image, "JPEG", quality=98) if extension == "jpg" else saved(image, "TIFF")
    return Odd(f"{extension} CMYK", extension, content, rgb.astype(float), 6 if extension == "jpg" else 1)


def pages(rgb: np.ndarray, draw: np.random.Generator) -> Odd:
    """Several pages or frames, of which the first is read; in TIFF the others may be of another depth and size."""
    extension, other = str(draw.choice(["tif", "gif", "webp", "png", "mixed tif"])), 255 - shades(rgb)
    first = shades(rgb)
    if extension == "mixed tif":
        content = tiff([first[..., None], (other[:9, :7, None]).astype(np.uint16) * 257, rgb[..., :1]])
        return Odd("tif pages of several depths", "tif", content, threefold(first))
    buffer, options = io.BytesIO(), {"lossless": True} if extension == "webp" else {}
    name = {"tif": "TIFF"}.get(extension, extension.upper())
    others = [Image.fromarray(other), Image.fromarray(first[::-1].copy())]
    Image.fromarray(first).save(buffer, name, save_all=True, append_images=others, **options)
    return Odd(f"{extension} pages", extension, buffer.getvalue(), threefold(first))


def clear_shade(rgb: np.ndarray, draw: np.random.Generator) -> Odd:
    """One value that is transparent, in PNG of 16 bits, grey or colour, or of 8 bits."""
    bits, single = int(draw.choice([8, 16])), bool(draw.integers(2))
    values = (shades(rgb)[..., None] if single else rgb).astype(np.uint16) * (257 if bits == 16 else 1)
    values[0, 0] = 65535 if bits == 16 else 255
    value = values[SIDE // 2, SIDE // 2].copy()
    expected = np.broadcast_to(values / (257 if bits == 16 else 1), (SIDE, SIDE, 3)).copy()
    expected[(values == value).all(-1)] = 255
    name = f"png {bits} bits, {'grey' if single else 'colour'}, one is clear"
    return Odd(name, "png", png(values, bits, transparent=value.tolist()), expected)


def bands(rgb: np.ndarray, draw: np.random.Generator) -> Odd:
    """Channels beyond colours whose meaning is not stated: to be refused, since they would be dropped."""
    count = int(draw.integers(1, 4))
    source = rgb if draw.random() < 0.7 else rgb[..., :1]
    full = np.concatenate((source, *[255 - rgb[..., :1]] * count), axis=2)
    content = tiff([full], photometric=2 if source.shape[2] == 3 else 1, extra=[0] * count)
    return Odd(f"tif {full.shape[2]} bands", "tif", content, None)


def renamed(rgb: np.ndarray, draw: np.random.Generator) -> Odd:
    """An extension of another format; or no image at all."""
    if draw.random() < 0.3:
        texts = [b"", b"\0" * 3000, b"a,b\n1,2\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7\n", b"P7\n"]
        return Odd("no image", str(draw.choice(["png", "jpg", "tif", "gif", "avif"])), texts[draw.integers(6)], None)
    made = plain(rgb, draw)
    return made._replace(
        kind="other extension", extension=str(draw.choice(["png", "jpg", "tif", "gif", "jp2", "JPEG"]))
    )


MAKERS: tuple[Make, ...] = (
    plain, plain, odd.orientation, odd.large, odd.alpha, odd.palette, odd.few_bits, odd.one_bit, odd.deep, odd.deep,
    deep_colour, signed, no_number, colour_tiff, cmyk, pages, clear_shade, bands, renamed,
)  # fmt: skip
