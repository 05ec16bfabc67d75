"""Writers of the PNG and TIFF files that Pillow reads and cannot write, from the formats' specifications."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np

ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, and steps between rows and columns, of each pass (PNG specification, 8.2)."""
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Of PNG, by the number of channels."""


def chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG file, with its length and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(pixels: np.ndarray, bits: int, *, adam7: bool = False, transparent: Sequence[int] = ()) -> bytes:
    """A PNG file.

    Args:
        pixels: [H, W, C] with values below 2 to the power of `bits`.
        bits: Per channel: 1, 2, 4, 8 or 16; below 8 with one channel only.
        adam7: Whether it is interlaced.
        transparent: The value of each channel that is transparent.
    """
    height, width, channels = pixels.shape
    passes = [pixels[y::dy, x::dx] for y, x, dy, dx in ADAM7] if adam7 else [pixels]
    body = b"".join(_scan_lines(part, bits) for part in passes if part.size)
    header = struct.pack(">IIBBBBB", width, height, bits, COLOUR_TYPES[channels], 0, 0, adam7)
    extra = chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)) if transparent else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(body))
        + chunk(b"IEND", b"")
    )


def _scan_lines(pixels: np.ndarray, bits: int) -> bytes:
    """Rows, each after the byte 0, which says that it isn't filtered."""
    rows = pixels.reshape(len(pixels), -1)
    if bits == 16:
        rows = rows.astype(">u2").view(np.uint8)
    elif bits < 8:
        single = np.unpackbits(rows.astype(np.uint8)[..., None], axis=2)[..., 8 - bits :]
        rows = np.packbits(single.reshape(len(rows), -1), axis=1)
    return b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in rows)


def tiff(
    pages: Sequence[np.ndarray],
    *,
    order: str = "<",
    photometric: int = 1,
    compressed: bool = False,
    tile: int = 0,
    planar: bool = False,
    orientation: int = 1,
    extra: Sequence[int] = (),
) -> bytes:
    """A TIFF file.

    Args:
        pages: [H, W, C] each, of any type of numbers that NumPy has.
        order: "<" little-endian, ">" big-endian.
        photometric: 0 white is zero, 1 black is zero, 2 RGB.
        compressed: By deflate.
        tile: Side of the tiles, a multiple of 16; 0: one strip.
        planar: Whether each channel lies by itself.
        orientation: As of EXIF.
        extra: Meaning of each channel beyond the colours: 0 none, 1 associated, 2 unassociated alpha.
    """
    out = bytearray((b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 0))
    link = 4  # where the offset of the next page's directory has to be written
    for pixels in pages:
        height, width, channels = pixels.shape
        values = pixels.astype(pixels.dtype.newbyteorder(order))
        parts = [values[..., [place]] for place in range(channels)] if planar else [values]
        blocks = [block for part in parts for block in _blocks(part, tile)]
        blocks = [zlib.compress(block) for block in blocks] if compressed else blocks
        offsets = []
        for block in blocks:
            offsets.append(len(out))
            out += block + b"\0" * (len(block) % 2)
        kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
        lengths = [len(block) for block in blocks]
        tags = {256: [width], 257: [height], 258: [8 * pixels.itemsize] * channels, 259: [8 if compressed else 1],
                262: [photometric], 274: [orientation], 277: [channels], 284: [2 if planar else 1],
                339: [kind] * channels} | ({338: list(extra)} if extra else {})  # fmt: skip
        tags |= {322: [tile], 323: [tile], 324: offsets, 325: lengths} if tile else {
            273: offsets, 278: [height], 279: lengths
        }  # fmt: skip
        link = _directory(out, tags, order, link)
    return bytes(out)


def _blocks(values: np.ndarray, tile: int) -> list[bytes]:
    if not tile:
        return [values.tobytes()]
    height, width, _ = values.shape
    padded = np.pad(values, ((0, -height % tile), (0, -width % tile), (0, 0)))
    return [padded[y : y + tile, x : x + tile].tobytes() for y in range(0, height, tile) for x in range(0, width, tile)]


def _directory(out: bytearray, tags: dict[int, list[int]], order: str, link: int) -> int:
    """Append a directory and its long values; return where the next directory's offset is to be written."""
    entries = b""
    for tag, values in sorted(tags.items()):
        wide = tag in (273, 279, 324, 325)
        packed = struct.pack(f"{order}{len(values)}{'I' if wide else 'H'}", *values)
        if len(packed) > 4:
            place, packed = len(out), packed + b"\0" * (len(packed) % 2)
            out += packed
            packed = struct.pack(f"{order}I", place)
        entries += struct.pack(f"{order}HHI", tag, 4 if wide else 3, len(values)) + packed.ljust(4, b"\0")
    struct.pack_into(f"{order}I", out, link, len(out))
    out += struct.pack(f"{order}H", len(tags)) + entries
    out += struct.pack(f"{order}I", 0)
    return len(out) - 4
