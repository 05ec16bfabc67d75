"""Damages to image files, and things named like image files that are none."""

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

Damage = Callable[[bytes, np.random.Generator], bytes]


def truncated(content: bytes, draw: np.random.Generator) -> bytes:
    """Cut off at a random place."""
    return content[: draw.integers(len(content) + 1)]


def bits_in_header(content: bytes, draw: np.random.Generator) -> bytes:
    """One to four flipped bits in the first 100 bytes."""
    return _flipped(content, draw, 100)


def bits_anywhere(content: bytes, draw: np.random.Generator) -> bytes:
    """One to four flipped bits."""
    return _flipped(content, draw, len(content))


def bytes_anywhere(content: bytes, draw: np.random.Generator) -> bytes:
    """A run of random bytes."""
    start, count = int(draw.integers(len(content) + 1)), int(draw.integers(1, 60))
    return content[:start] + draw.bytes(min(count, len(content) - start)) + content[start + count :]


def zeros_inside(content: bytes, draw: np.random.Generator) -> bytes:
    """A run of zeros."""
    start, count = int(draw.integers(len(content) + 1)), int(draw.integers(1, 200))
    return content[:start] + bytes(min(count, len(content) - start)) + content[start + count :]


def zeros_to_the_end(content: bytes, draw: np.random.Generator) -> bytes:
    """Zeros from a random place: a copy that was interrupted after the file got its length."""
    start = int(draw.integers(len(content) + 1))
    return content[:start] + bytes(len(content) - start)


def removed(content: bytes, draw: np.random.Generator) -> bytes:
    """Some bytes are missing."""
    start = int(draw.integers(len(content) + 1))
    return content[:start] + content[start + int(draw.integers(1, 50)) :]


def appended(content: bytes, draw: np.random.Generator) -> bytes:
    """More bytes after the end: the image is complete."""
    return content + (bytes(100), draw.bytes(100), content)[draw.integers(3)]


def sizes(content: bytes, draw: np.random.Generator) -> bytes:
    """Another width and height in the header: huge, none, or a little more."""
    size = [(0, 0), (0, 32), (32, 0), (65535, 65535), (60000, 2900), (2**31 - 1, 2**31 - 1), (33, 32), (32, 40)]
    width, height = size[draw.integers(8)]
    out = bytearray(content)
    if content.startswith(b"\x89PNG") and len(content) > 33:
        import zlib

        struct.pack_into(">II", out, 16, width, height)
        struct.pack_into(">I", out, 29, zlib.crc32(bytes(out[12:29])))
    elif content.startswith(b"BM"):
        struct.pack_into("<ii", out, 18, width, height)
    elif content.startswith(b"GIF8"):
        struct.pack_into("<HH", out, 6, width & 65535, height & 65535)
    elif content.startswith(b"\xff\xd8"):
        place = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
        struct.pack_into(">HH", out, place + 5, height & 65535, width & 65535)
    elif content[:2] in (b"P5", b"P6"):
        return content[:2] + b" %d %d 255\n" % (width, height) + content[20:]
    elif content[:4] in (b"II*\0", b"MM\0*"):
        order = "<" if content[:1] == b"I" else ">"
        (place,) = struct.unpack_from(f"{order}I", content, 4)
        for entry in range(2):  # Pillow's and this project's directories begin with the two sizes
            struct.pack_into(f"{order}H", out, place + 10 + 12 * entry, (width, height)[entry] & 65535)
    return bytes(out)


DAMAGES: tuple[Damage, ...] = (
    truncated, bits_in_header, bits_anywhere, bytes_anywhere, zeros_inside, zeros_to_the_end, removed, appended, sizes,
)  # fmt: skip


def _flipped(content: bytes, draw: np.random.Generator, within: int) -> bytes:
    out = bytearray(content)
    for place in draw.integers(0, max(1, min(within, len(out))), draw.integers(1, 5)) if out else ():
        out[place] ^= 1 << int(draw.integers(8))
    return bytes(out)


def fifo(file: Path) -> None:
    """A pipe, which nobody writes to: whoever opens it waits."""
    os.mkfifo(file)


def unix_socket(file: Path) -> None:
    """A socket."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(file)[-100:] if len(os.fspath(file)) < 100 else f"/proc/self/cwd/{file.name}")


def zero_device(file: Path) -> None:
    """A link to a device that never ends."""
    file.symlink_to("/dev/zero")


def loop(file: Path) -> None:
    """A link to itself."""
    file.symlink_to(file.name)


def folder(file: Path) -> None:
    """A folder with the name of an image."""
    file.mkdir()


def folder_loop(file: Path) -> None:
    """A link to the folder that it lies in."""
    file.symlink_to(".")


def nothing(file: Path) -> None:
    """It is gone."""


THINGS = (fifo, unix_socket, zero_device, loop, folder, folder_loop, nothing)
NAMES = (
    b"n\xff\xfe",
    b"line\nbreak",
    b"\x1b[31mred",
    b"a#2",
    b"space ",
    "ünï 図".encode(),
    b"x" * 255,
    b"'\"$(x);",
    b"%s%d{0}",
)
"""Stems of odd file names, cut to 255 bytes with the extension."""
