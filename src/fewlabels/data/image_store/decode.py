"""Decode image files to uint8 squares.

Worker processes import this module. It must not import torch, which would add seconds to the start of every worker.
"""

import errno
import hashlib
import io
import math
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewlabels.data.image_store.depths import NPY, load_channels, load_upright
from fewlabels.data.image_store.facts import FACTS, FORMATS, check_complete, open_regular, printable, quietly
from fewlabels.data.image_store.pixels import REDUCING_GAP, cut, resize_into, resized_shape

VERSION = 4  # part of every store's key: increase it when decoding changes any pixel, or the store its content
RESIZES = ("pad", "crop", "squash")
PAGE = re.compile(r"#(\d+)$")
"""Of a path: the number of a page, from 1."""


@dataclass(frozen=True)
class Decoding:
    """How the pixels of a file become those of a store.

    Attributes:
        resize: "pad" keeps the aspect ratio and all of the image: the longer side becomes S (small images are
            enlarged), and the rest is filled with the median of the border. "crop" takes the central square. "squash"
            ignores the aspect ratio.
        white: The value that is white in images of more than 8 bits; None: see `facts.white_point`.
        crop_edges: Pixels to cut off the upright image before anything else: top, right, bottom, left.
        pages: "first" page of a file, or "all", each an image of its own.
    """

    resize: str = "pad"
    white: float | None = None
    crop_edges: tuple[int, int, int, int] = (0, 0, 0, 0)
    pages: str = "first"


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

    def keep(self, rows: Sequence[int]) -> None:
        """Move `rows` (sorted) to the front of the array, truncate the rest and correct the header."""
        row_bytes = math.prod(self.shape)
        with Path(self.file).open("r+b") as handle:
            for new, old in enumerate(rows):
                if new != old:
                    pixels = os.pread(handle.fileno(), row_bytes, self.position(old))
                    os.pwrite(handle.fileno(), pixels, self.position(new))
            offset = _write_header(handle, len(rows), self.shape)
            assert offset == self.offset
            handle.truncate(self.position(len(rows)))


def allocate(file: Path, count: int, shape: tuple[int, int, int]) -> Target:
    """Create an array file of `count` rows at its full length, so that a full disk is detected before decoding."""
    length = count * math.prod(shape)
    with file.open("wb") as handle:
        offset = _write_header(handle, count, shape)
        if (free := shutil.disk_usage(file.parent).free) < length:
            raise OSError(errno.ENOSPC, f"{length:,} bytes are needed, {free:,} are free", str(file))
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle.fileno(), 0, offset + length)
        else:  # macOS; if the disk fills up later, `Target.put` raises
            handle.truncate(offset + length)
    return Target(str(file), offset, shape)


def _write_header(handle: BinaryIO, count: int, shape: tuple[int, int, int]) -> int:
    """Write the .npy header; return its length in bytes, which does not depend on `count`."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(handle, header)
    return handle.seek(0, os.SEEK_CUR)


def content_digest(content: bytes | memoryview) -> int:
    """64-bit digest of a file's bytes, as a signed integer (BLAKE2b). Among 10⁶ files two agree with chance 3e-8."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big", signed=True)


def decode(file: BinaryIO, out: np.ndarray, decoding: Decoding, page: int = 0) -> np.ndarray:
    """Read one image, apply its EXIF orientation, composite it on white, resize it and write it to `out`.

    Args:
        file: The image file, or .npy.
        out: uint8 [C, S, S] with C = 1 (greyscale), 3 (colour) or another number (see `load_channels`), overwritten.
        decoding: How.
        page: Of the file, from 0.

    Returns:
        The facts of the file, see `FACTS`.

    Raises:
        Exception: Whatever Pillow raises for a file that is not a complete, readable image.
    """
    channels, size, _ = out.shape
    if channels not in (1, 3) or file.read(len(NPY)) == NPY:
        file.seek(0)
        values, facts = load_channels(file, channels, decoding.white)
        for channel in range(channels):
            image = Image.fromarray(np.ascontiguousarray(values[..., channel]))
            resize_into(cut(image, decoding.crop_edges), out[channel : channel + 1], decoding.resize)
        return facts
    file.seek(0)
    with Image.open(file, formats=FORMATS) as image:
        if page:
            image.seek(page)  # first: each page has a depth of its own
        draft = None
        if not any(decoding.crop_edges) and min(image.size):
            # Decodes JPEG at 1/2, 1/4 or 1/8, or luminance only, where the file allows it.
            width, height = resized_shape(image.size, size, decoding.resize)
            draft = "L" if channels == 1 else "RGB", (int(width * REDUCING_GAP), int(height * REDUCING_GAP))
        upright, facts = load_upright(image, decoding.white, draft)
        resize_into(cut(upright, decoding.crop_edges), out, decoding.resize)
    return facts


def decode_rows(root: str, paths: Sequence[str], out: np.ndarray, decoding: Decoding) -> "Decoded":
    """Decode `paths` (relative to `root`) into `out`, uint8 [n, C, S, S]."""
    decoded = Decoded(np.zeros(len(paths), np.int64), {}, np.zeros(len(paths), FACTS))
    with quietly():
        for row, path in enumerate(paths):
            name, page = page_of(path) if decoding.pages == "all" else (path, 0)
            try:
                with open_regular(f"{root}/{name}") as file:
                    content = file.read()
                decoded.digests[row] = content_digest(content if page == 0 else content + f"#{page}".encode())
                check_complete(content)
                decoded.facts[row] = decode(io.BytesIO(content), out[row], decoding, page)
            except Exception as error:  # Pillow raises many kinds of exceptions for damaged files
                decoded.reasons[row] = _reason(error)
    return decoded


class Decoded(NamedTuple):
    """What is known of n decoded files.

    Attributes:
        digests: int64 [n], of their content.
        reasons: {row: why it could not be read}.
        facts: [n], see `FACTS`.
    """

    digests: NDArray[np.int64]
    reasons: dict[int, str]
    facts: NDArray[np.void]


def page_of(path: str) -> tuple[str, int]:
    """The file of a path, and the page from 0: "stack.tif#2" is the second page of stack.tif."""
    found = PAGE.search(path)
    return (path[: found.start()], int(found[1]) - 1) if found else (path, 0)


def decode_chunk(
    root: str, paths: list[str], decoding: Decoding, target: Target, rows: Sequence[int]
) -> tuple[Sequence[int], Decoded]:
    """Decode `paths` and write them to the `rows` of `target`.

    Returns:
        `rows`, and what is known of the files.

    Raises:
        OSError: `target` cannot be written, such as on a full disk.
    """
    out = np.zeros((len(paths), *target.shape), np.uint8)
    decoded = decode_rows(root, paths, out, decoding)
    if isinstance(rows, range):
        target.put(rows.start, out)
    else:
        for place, row in enumerate(rows):
            target.put(row, out[place : place + 1])
    return rows, decoded


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image of a known format"
    return printable(f"{type(error).__name__}: {error}")[:200]
