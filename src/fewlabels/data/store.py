"""The store: every image of a set decoded and resized once, in one memory-mapped uint8 array [N, C, H, W].

A store is `<name>-<key>.npy` in the cache folder with `<name>-<key>.json` beside it; the key is a hash of everything
that decides the pixels. It is written under another name and renamed when whole, so what is there is always complete.
"""

import contextlib
import errno
import hashlib
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fewlabels.data.decode import Target
from fewlabels.data.progress import Advance, progress
from fewlabels.errors import UserError
from fewlabels.files import write_whole

log = logging.getLogger(__name__)

Write = Callable[[Target, Advance], dict[int, str]]
MAX_CORRUPT = 0.05  # a larger share of unreadable files means that something else is wrong


@dataclass(frozen=True)
class Source:
    """Images before they are decoded.

    Attributes:
        name: Of the set; for messages and file names.
        shape: (C, H, W) of the decoded images.
        stamp: Differs whenever a pixel may differ.
        read: Called only if there is no store yet. Returns the [N] relative posix paths, of which the first of
            several components is the class, and a function that decodes all images into the rows of a `Target` and
            returns {row: reason} of the unreadable ones.
        where: Where the images are, for messages.
        synthetic: Whether they are drawn and not photographed.
    """

    name: str
    shape: tuple[int, int, int]
    stamp: str
    read: Callable[[], tuple[list[str], Write]]
    where: str
    synthetic: bool = False


@dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
        images: uint8 [N, C, H, W], mapped read-only: every process shares the same pages of memory.
        paths: [N] relative paths.
        corrupt: {path: reason} of the files that could not be read and are not in the store.
    """

    images: np.ndarray
    paths: list[str]
    corrupt: dict[str, str]


def open_store(source: Source, cache_dir: str | Path | None = None) -> Store:
    """Open the store of `source`, building it first if there is none.

    Several processes may call this at once: one builds, the others wait for it.

    Args:
        source: The images.
        cache_dir: Where stores live; None: the variable FEWLABELS_CACHE, else ~/.cache/fewlabels.

    Raises:
        UserError: the cache cannot be written, the disk is full, or over 5% of the files cannot be read.
    """
    folder = _cache_folder(cache_dir)
    key = hashlib.sha256(f"{source.stamp} {source.shape}".encode()).hexdigest()[:20]
    file = folder / f"{source.name}-{key}.npy"
    with _advising(folder):
        store = _opened(file)
        if store is None:
            with locked(file.with_suffix(".lock")):
                if _opened(file) is None:  # another process may have built it while this one waited
                    _build(source, file)
                store = _opened(file)
    if store is None:
        raise UserError(
            f"The store {file} vanished while it was opened. Keep others from clearing the cache meanwhile."
        )
    return store


def _cache_folder(cache_dir: str | Path | None) -> Path:
    return Path(cache_dir or os.environ.get("FEWLABELS_CACHE") or "~/.cache/fewlabels").expanduser()


def _opened(file: Path) -> Store | None:
    """The store in `file`; None if there is none, or if either part was damaged (it is then built anew)."""
    try:
        facts = json.loads(file.with_suffix(".json").read_text())
        images = np.load(file, mmap_mode="r")
    except FileNotFoundError:
        return None
    except (ValueError, EOFError) as error:
        log.warning("The store %s is damaged (%s) and will be built anew.", file, error)
        return None
    return Store(images, facts["paths"], facts["corrupt"])


@contextlib.contextmanager
def _advising(folder: Path) -> Iterator[None]:
    """Turn what the file system refuses into advice."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            problem = "The disk (or your quota) is full; nothing half-written was left."
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT):
            problem = f"It cannot be written ({error.strerror})."
        else:
            raise
        raise UserError(
            f"The cache folder {folder}: {problem} Give another one with data.cache_dir=FOLDER or the environment "
            "variable FEWLABELS_CACHE, or make room."
        ) from error


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold a lock file that other processes respect; the system frees it however the process ends."""
    import fcntl

    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("Another process holds %s; waiting for it.", file)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(source: Source, file: Path) -> None:
    """Write the store of `source`: the array under another name, then the facts, then the array's name."""
    for stale in file.parent.glob(f"{file.stem}.*.tmp"):
        stale.unlink()  # of a process that was killed; we hold the lock, so it is not at work
    paths, write = source.read()
    part = file.with_suffix(f".{os.getpid()}.tmp")
    start = time.monotonic()
    try:
        target = _allocate(part, len(paths), source.shape)
        with progress(f"Preparing {len(paths)} images of {source.name}", len(paths)) as advance:
            reasons = write(target, advance)
        _judge(source.where, paths, reasons)
        kept = _compact(target, [row for row in range(len(paths)) if row not in reasons])
        corrupt = {paths[row]: reason for row, reason in sorted(reasons.items())}
        facts = {"where": source.where, "paths": [paths[row] for row in kept], "corrupt": corrupt}
        write_whole(file.with_suffix(".json"), json.dumps(facts))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    log.info("Prepared %d images in %.1f s: %s", len(kept), time.monotonic() - start, file)


def _allocate(file: Path, count: int, shape: tuple[int, int, int]) -> Target:
    """Create an array file of `count` rows at its full length, so that a full disk is known before any work."""
    length = count * math.prod(shape)
    with file.open("wb") as handle:
        offset = _write_header(handle, count, shape)
        if (free := shutil.disk_usage(file.parent).free) < length:
            raise OSError(errno.ENOSPC, f"{length:,} bytes are needed, {free:,} are free", str(file))
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle.fileno(), 0, offset + length)
        else:  # macOS; a disk that fills meanwhile still raises, in `Target.put`
            handle.truncate(offset + length)
    return Target(str(file), offset, shape)


def _write_header(handle: Any, count: int, shape: tuple[int, int, int]) -> int:
    """Write the .npy header; return its length in bytes, which does not depend on `count`."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(handle, header)
    return int(handle.tell())


def _judge(where: str, paths: list[str], reasons: dict[int, str]) -> None:
    """Stop if too many files are unreadable to go on without them."""
    if len(reasons) > MAX_CORRUPT * len(paths):
        row, reason = min(reasons.items())
        raise UserError(
            f"{where}: {len(reasons)} of {len(paths)} images cannot be read, more than the {MAX_CORRUPT:.0%} that "
            f"would be left out; the first is {paths[row]} ({reason}). Repair them, take them away, or check that "
            "the folder was copied whole."
        )


def _compact(target: Target, kept: list[int]) -> list[int]:
    """Close the gaps that unreadable images left in the array, and correct its header; return `kept`."""
    row_bytes = math.prod(target.shape)
    with Path(target.file).open("r+b") as handle:
        for new, old in enumerate(kept):
            if new != old:
                os.pwrite(
                    handle.fileno(), os.pread(handle.fileno(), row_bytes, target.position(old)), target.position(new)
                )
        offset = _write_header(handle, len(kept), target.shape)
        assert offset == target.offset
        handle.truncate(target.position(len(kept)))
    return kept
