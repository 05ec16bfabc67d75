"""The store: every image of a dataset, decoded and resized once, in a memory-mapped uint8 array [N, C, H, W].

A store is `<name>-<key>.npy` in the cache folder, with `<name>-<key>.json` beside it. The key is a hash of everything
that determines the pixels. Both files are written atomically, so a store that exists is complete.
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
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.atomic_io import atomic_write, write_text
from fewlabels.core.errors import UserError
from fewlabels.data.image_store.decode import Target
from fewlabels.data.image_store.facts import printable, save_facts
from fewlabels.data.image_store.progress import Advance, progress

log = logging.getLogger(__name__)

FACTS_FILE = ".facts"


class Written(NamedTuple):
    """What is known of N images once they are written: as of `Store`, but {row: reason} of those not read."""

    digests: NDArray[np.int64]
    reasons: dict[int, str]
    facts: NDArray[np.void] | None = None
    notices: tuple[str, ...] = ()
    white: float | None = None


Write = Callable[[Target, Advance], Written]
MAX_CORRUPT = 0.05  # a larger fraction of unreadable files suggests a wrong folder or a failed copy


@dataclass(frozen=True)
class Source:
    """Images that are not decoded yet.

    Attributes:
        name: Name of the dataset, for messages and file names.
        shape: (C, H, W) of the decoded images.
        stamp: Changes whenever a pixel may change; part of the store's key.
        read: Called only if there is no store yet. Returns the [N] relative posix paths, whose first component is the
            class if there are several, and a function that decodes all images into the rows of a `Target`.
        where: Location of the images, for messages.
        synthetic: Whether the images are synthetic.
        notices: Sentences that logs and reports should repeat.
    """

    name: str
    shape: tuple[int, int, int]
    stamp: str
    read: Callable[[], tuple[list[str], Write]]
    where: str
    synthetic: bool = False
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
        images: uint8 [N, C, H, W], mapped read-only; all processes share its pages of memory.
        paths: [N] relative paths.
        digests: int64 [N]; equal only for files (arrays, of datasets that are no files) of equal content.
        corrupt: {path: reason} of the files that could not be read and are not in the store.
        key: Changes whenever a pixel may have changed.
        notices: Sentences that logs and reports should repeat.
        facts_file: Of the facts of the images' files; None: they are no files.
        white: The value that is white in images of more than 8 bits; None: there are none.
    """

    images: np.ndarray
    paths: list[str]
    digests: NDArray[np.int64]
    corrupt: dict[str, str]
    key: str
    notices: tuple[str, ...] = ()
    facts_file: Path | None = None
    white: float | None = None

    @property
    def facts(self) -> NDArray[np.void] | None:
        """Of the [N] files, see `facts.FACTS`; None: the images are no files."""
        return None if self.facts_file is None else np.load(self.facts_file)


def open_store(source: Source, cache_dir: str | Path | None = None) -> Store:
    """Open the store of `source`; build it first if there is none.

    Several processes may call this at once: one builds, the others wait for it.

    Args:
        source: The images.
        cache_dir: Folder of the stores; None: $FEWLABELS_CACHE, else ~/.cache/fewlabels.

    Raises:
        UserError: The cache cannot be written, the disk is full, or over 5% of the files cannot be read.
    """
    folder = cache_folder(cache_dir)
    key = hashlib.sha256(f"{source.stamp} {source.shape}".encode()).hexdigest()[:20]
    file = folder / f"{source.name}-{key}.npy"
    with _explain_os_errors(folder):
        store = _load(file)
        if store is None:
            with file_lock(file.with_suffix(".lock")):
                if _load(file) is None:  # another process may have built it while this one waited
                    _build(source, file)
                store = _load(file)
    if store is None:
        raise UserError(f"The store {file} was deleted while it was being opened. Run the same command again.")
    return store


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """The folder of the stores: the given one, else $FEWLABELS_CACHE, else ~/.cache/fewlabels."""
    return Path(cache_dir or os.environ.get("FEWLABELS_CACHE") or "~/.cache/fewlabels").expanduser()


def _load(file: Path) -> Store | None:
    """Load the store `file`; None if it does not exist or is damaged, in which case it must be built."""
    try:
        metadata = json.loads(file.with_suffix(".json").read_text())
        images = np.load(file, mmap_mode="r")
    except FileNotFoundError:
        return None
    except (ValueError, EOFError) as error:
        log.warning("The store %s is damaged (%s) and will be rebuilt.", file, error)
        return None
    digests, notices = np.array(metadata["digests"], np.int64), tuple(metadata["notices"])
    facts = file.with_suffix(FACTS_FILE) if file.with_suffix(FACTS_FILE).is_file() else None
    known = metadata["paths"], digests, metadata["corrupt"], file.stem, notices, facts, metadata["white"]
    return Store(images, *known)


@contextlib.contextmanager
def _explain_os_errors(folder: Path) -> Iterator[None]:
    """Create the cache folder; convert errors of the file system in the block to a UserError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            problem = "The disk (or your quota) is full. No incomplete file was left."
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT):
            problem = f"It cannot be written ({error.strerror})."
        else:
            raise
        raise UserError(
            f"The cache folder {folder}: {problem} Free space, or give another folder with data.cache_dir=FOLDER or "
            "the environment variable FEWLABELS_CACHE."
        ) from error


@contextlib.contextmanager
def file_lock(file: Path) -> Iterator[None]:
    """Hold an advisory lock on `file`, waiting for it if necessary. The system releases it when the process ends."""
    import fcntl

    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("Another process holds the lock %s; waiting.", file)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(source: Source, file: Path) -> None:
    """Write the store of `source`. The caller holds the lock."""
    for stale in file.parent.glob(f"{file.stem}.*.tmp"):
        stale.unlink()  # left by a process that was killed: a running one would hold the lock
    paths, write = source.read()
    start = time.monotonic()
    with atomic_write(file) as temporary:
        target = _allocate(temporary, len(paths), source.shape)
        with progress(f"Preparing {len(paths)} images of {source.name}", len(paths)) as advance:
            digests, reasons, facts, notices, white = write(target, advance)
        _check_unreadable(source.where, paths, reasons)
        rows = [row for row in range(len(paths)) if row not in reasons]
        _keep_rows(target, rows)
        corrupt = {paths[row]: reason for row, reason in sorted(reasons.items())}
        metadata = {
            "where": source.where, "paths": [paths[row] for row in rows], "digests": digests[rows].tolist(),
            "corrupt": corrupt, "notices": notices, "white": white,
        }  # fmt: skip
        if facts is not None:
            save_facts(file.with_suffix(FACTS_FILE), facts[rows])
        write_text(file.with_suffix(".json"), json.dumps(metadata))  # before the array gets its name
    log.info("Prepared %d images in %.1f s: %s", len(rows), time.monotonic() - start, file)


def _allocate(file: Path, count: int, shape: tuple[int, int, int]) -> Target:
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


def _check_unreadable(where: str, paths: list[str], reasons: dict[int, str]) -> None:
    """Raise UserError if too many files are unreadable."""
    if len(reasons) > MAX_CORRUPT * len(paths):
        row, reason = min(reasons.items())
        raise UserError(
            f"{where}: {len(reasons)} of {len(paths)} images cannot be read, for example {printable(paths[row])} "
            f"({reason}). At most {MAX_CORRUPT:.0%} are skipped. Repair or remove them, or check that the folder was "
            "copied completely."
        )


def _keep_rows(target: Target, rows: list[int]) -> None:
    """Move `rows` (sorted) to the front of the array, truncate the rest and correct the header."""
    row_bytes = math.prod(target.shape)
    with Path(target.file).open("r+b") as handle:
        for new, old in enumerate(rows):
            if new != old:
                pixels = os.pread(handle.fileno(), row_bytes, target.position(old))
                os.pwrite(handle.fileno(), pixels, target.position(new))
        offset = _write_header(handle, len(rows), target.shape)
        assert offset == target.offset
        handle.truncate(target.position(len(rows)))
