r"""Atomic writes of files and folders: a reader sees the old one or the new one, never half of one.

And file names that are no UTF-8, such as b"caf\xe9.png" (Latin-1) on Linux. Python holds them as "caf\udce9.png", with
a lone surrogate for each byte that is not UTF-8 (PEP 383). Text files and CSV have the bytes themselves (`write_text`).
Parquet, HTML, JSON, W&B and other programs, which take UTF-8 alone, have them `spelled`: "caf%E9.png".
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary file name in the same directory, which replaces `path` when the block ends.

    If the block raises, the temporary file is removed and `path` keeps its content. The temporary name contains the
    process id, so that processes do not share it, and ends in ".tmp". Data are flushed to disk before the rename.

    Raises:
        OSError: Writing failed, for instance because the disk is full.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, which gets its name when the block ends, with its files flushed to disk.

    If the block raises, the temporary folder is removed. `path` must not exist, or be an empty folder.

    Raises:
        OSError: Writing failed, for instance because the disk is full, or `path` exists.
    """
    with temporary_folder(path) as temporary:
        yield temporary
        for written in temporary.rglob("*"):
            if written.is_file() and not written.is_symlink():
                with written.open("rb") as file:
                    os.fsync(file.fileno())
        temporary.rename(path)


@contextmanager
def temporary_folder(beside: Path) -> Iterator[Path]:
    """Yield a new hidden folder beside a file or folder, which is removed when the block ends."""
    temporary = beside.with_name(f".{beside.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of an earlier process of this number
    temporary.mkdir(parents=True)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically.

    Raises:
        OSError: Writing failed; `path` keeps its content.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")  # file names may not be valid UTF-8


def is_utf8(name: str) -> bool:
    """Whether all bytes of a file name are UTF-8."""
    return not re.search("[\udc80-\udcff]", name)


def spelled(name: str) -> str:
    """A file name in UTF-8: each byte that is not UTF-8 is written as in an address, `caf%E9.png` (RFC 3986, 2.1).

    Other names stay as they are, except that the "%" of such a spelling in a name becomes "%25". So different names are
    spelled differently, and `unspelled` gives the name back.
    """
    literal = re.sub(r"%(?=25|[89A-F][0-9A-F])", "%25", name)
    return re.sub("[\udc80-\udcff]", lambda byte: f"%{ord(byte[0]) - 0xDC00:X}", literal)


def unspelled(name: str) -> str:
    """The file name that `spelled` has spelled."""
    return re.sub(
        r"%(25|[89A-F][0-9A-F])", lambda code: "%" if code[1] == "25" else chr(0xDC00 + int(code[1], 16)), name
    )
