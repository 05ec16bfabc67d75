"""What image files are: sizes, depths, pages, and what a user should be told of them; damage and noise of the files."""

import contextlib
import logging
import os
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewlabels.core.atomic_io import atomic_write

FACTS = np.dtype([
    ("width", "u4"), ("height", "u4"), ("pages", "u4"), ("orientation", "u1"), ("alpha", "?"), ("bits", "u1"),
    ("real", "?"), ("low", "f4"), ("high", "f4"), ("bytes", "u8"), ("modified", "i8"),
])  # fmt: skip
"""Of a file: size in pixels before it is turned upright; pages or frames; EXIF orientation, 1 is upright; whether it
has transparency; bits per channel, of what is read of them; whether these are floating-point numbers; and the least and
largest value, 0 of images of 8 bits; and its length in bytes and the time of its modification in ns when the folder was
listed. All 0 if the file cannot be read."""
WHITES = (255, 1023, 4095, 16383, 65535, 2**32 - 1)
"""Largest values of 8, 10, 12, 14, 16 and 32 bits."""
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP", "PPM", "JPEG2000", "AVIF")
PAGED = ("TIFF", "GIF", "WEBP", "PNG", "AVIF")
"""Formats that may have several pages or frames."""
DEEP_COLOURS = re.compile("(RGB|RGBA|LA);16[BLN]")
"""Pillow's raw modes of colours of 16 bits, of which it gives the upper 8."""
SHOWN = 3


def printable(text: str) -> str:
    """A file's name or a message, with "�" for what a log cannot show, such as line breaks and broken UTF-8."""
    return "".join(character if character.isprintable() else "�" for character in text)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Let no warning or log message about an image's file escape; what matters is raised."""
    logger = logging.getLogger("PIL")
    level = logger.level
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logger.setLevel(logging.CRITICAL + 1)
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def without_standard_error() -> Iterator[None]:
    """Drop what C libraries write to the standard error of this process: libtiff does, whatever Python's settings."""
    try:
        kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # it is closed
        yield
        return
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def open_regular(file: str | Path) -> BinaryIO:
    """Open a file to read.

    Raises:
        OSError: It cannot be opened, or is no regular file: who opens a pipe would wait for ever.
    """
    handle = os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
        handle.close()
        raise OSError("no regular file")
    return handle


def check_complete(content: bytes) -> None:
    """Find damage that the format tells of and Pillow does not look for.

    PNG: checksums of pixels (PNG specification, 5.3). JPEG: zeros instead of the end, as of an interrupted copy.

    Raises:
        ValueError: The file is damaged.
    """
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        place, view = 8, memoryview(content)
        while place + 12 <= len(content):
            (length,) = struct.unpack_from(">I", content, place)
            end = place + 8 + length
            kind = content[place + 4 : place + 8]
            if kind in (b"IDAT", b"fdAT") and zlib.crc32(view[place + 4 : end]).to_bytes(4) != content[end : end + 4]:
                raise ValueError("damaged: a checksum of the pixels is wrong")
            place = end + 4
    elif (
        content.startswith(b"\xff\xd8")
        and content.endswith(bytes(16))
        and (content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"))
    ):
        raise ValueError("damaged: zeros instead of the end of the image")


def raw_mode(image: Image.Image) -> str:
    """How the pixels of an open image lie in its file, as Pillow names it; "" if it doesn't say."""
    (arguments, *_) = [tile[3] for tile in getattr(image, "tile", ())] or [""]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def has_deep_colours(image: Image.Image) -> bool:
    """Whether an open image, which isn't loaded yet, has colours of 16 bits (of animations, only 8 are read)."""
    single = image.format != "PNG" or not getattr(image, "is_animated", False)
    return single and DEEP_COLOURS.fullmatch(raw_mode(image)) is not None


def file_facts(image: Image.Image) -> np.ndarray:
    """The facts of an open image whose pixels are not needed; low and high are 0."""
    facts = np.zeros((), FACTS)
    deep = image.mode.startswith("I") or has_deep_colours(image)  # before a look for EXIF, which loads PNG
    facts["width"], facts["height"] = image.size
    facts["pages"] = _pages(image)
    turn = image.getexif().get(0x0112, 1) if has_metadata(image) else 1
    facts["orientation"] = turn if turn in range(2, 9) else 1
    facts["alpha"] = image.has_transparency_data
    facts["real"] = image.mode == "F"
    facts["bits"] = 32 if image.mode in ("F", "I") else 16 if deep else 8
    return facts


def has_metadata(image: Image.Image) -> bool:
    """Whether an image may have an EXIF orientation; to look it up takes longer."""
    return image.format != "JPEG" or "exif" in image.info or "xmp" in image.info


def _pages(image: Image.Image) -> int:
    if image.format not in PAGED:
        return 1
    try:
        return int(getattr(image, "n_frames", 1))
    except (OSError, EOFError, SyntaxError, ValueError):
        return 1  # the first page may be complete nevertheless


def white_point(facts: NDArray[np.void]) -> int:
    """The value that is white in images of whole numbers of more than 8 bits: the least of `WHITES` that fits all.

    One for the whole set, so that a dark image stays darker than a bright one.
    """
    deep = facts[(facts["bits"] > 8) & ~facts["real"]]
    highest = float(deep["high"].max(initial=0))
    return next((white for white in WHITES if highest <= white), WHITES[-1])


def facts_notices(facts: NDArray[np.void], paths: Sequence[str], white: float | None, pages: str) -> Iterator[str]:
    """Yield what logs and reports must say of the files.

    Args:
        facts: [N].
        paths: [N].
        white: As in the settings; None: what `white_point` tells.
        pages: "first" or "all".
    """

    def named(which: NDArray[np.bool_]) -> str:
        rows = np.flatnonzero(which)
        return ", ".join(printable(paths[row]) for row in rows[:SHOWN]) + (", …" if len(rows) > SHOWN else "")

    deep = (facts["bits"] > 8) & ~facts["real"]
    if deep.any():
        highest = facts["high"][deep].max()
        chosen = white_point(facts) if white is None else white
        yield (
            f"{deep.sum()} images have more than 8 bits, with values up to {highest:,.0f}: {chosen:,.0f} is white in "
            f"all of them{'' if white else f' ({_bits(chosen)})'}. If that is wrong, give data.white=VALUE."
        )
    if (negative := facts["low"] < 0).any():
        yield f"{negative.sum()} images have negative values, which are black: {named(negative)}"
    if (several := facts["pages"] > 1).any() and pages == "first":
        yield (
            f"{several.sum()} files have several pages or frames, {facts['pages'][several].sum():,} in all, of which "
            f"the first is read: {named(several)}. For all of them give data.pages=all."
        )


def save_facts(file: Path, facts: NDArray[np.void]) -> None:
    """Write facts as an .npy file, atomically."""
    with atomic_write(file) as temporary, temporary.open("wb") as handle:
        np.save(handle, facts)


def _bits(white: float) -> str:
    return f"{round(np.log2(white + 1))} bits"
