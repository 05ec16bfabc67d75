"""The store: every image of a dataset, decoded and resized once, in a memory-mapped uint8 array [N, C, H, W].

A store is `<name>-<key>.npy` in the cache folder, with `<name>-<key>.json` beside it. The key is a hash of everything
that determines the pixels: 8 characters of the settings, 12 of these and the files. Both files are written atomically,
so a store that exists is complete.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.atomic_io import atomic_write, write_text
from fewlabels.core.errors import UserError
from fewlabels.data.image_store.decode import Target, allocate
from fewlabels.data.image_store.facts import printable, save_facts
from fewlabels.data.image_store.progress import Advance, progress

log = logging.getLogger(__name__)

FACTS_FILE = ".facts"


class Written(NamedTuple):
    """What is known of N images once they are written: as of `Store`, but {row: reason} of those not read.

    `copied` rows are of an earlier store.
    """

    digests: NDArray[np.int64]
    reasons: dict[int, str]
    facts: NDArray[np.void] | None = None
    notices: tuple[str, ...] = ()
    white: float | None = None
    copied: int = 0


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
        recipe: All that a file's pixels depend on, beside the file, the shape, and the white of the set.
        root: Absolute folder of the files; "": they are no files, and an earlier store is of no use.
    """

    name: str
    shape: tuple[int, int, int]
    stamp: str
    read: "Callable[[], tuple[list[str], Write]]"
    where: str
    synthetic: bool = False
    notices: tuple[str, ...] = ()
    recipe: str = ""
    root: str = ""


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
        root: As of its source.
    """

    images: np.ndarray
    paths: list[str]
    digests: NDArray[np.int64]
    corrupt: dict[str, str]
    key: str
    notices: tuple[str, ...] = ()
    facts_file: Path | None = None
    white: float | None = None
    root: str = ""

    @property
    def facts(self) -> NDArray[np.void] | None:
        """Of the [N] files, see `facts.FACTS`; None: the images are no files."""
        return None if self.facts_file is None else np.load(self.facts_file)


class Write(Protocol):
    """Writes all images of a source to the rows of a target; may copy rows of an earlier store of the same files."""

    def __call__(self, target: Target, advance: Advance, earlier: Store | None = None) -> Written:
        """Call `advance` with the number of images just written."""


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
    file = folder / _names(source)[1]
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


def _names(source: Source) -> tuple[str, str]:
    """What the names of all stores begin with that may have rows of the source's files; and the name of its own."""
    settings, files = (
        hashlib.sha256(f"{part} {source.shape}".encode()).hexdigest() for part in (source.recipe, source.stamp)
    )
    return f"{source.name}-{settings[:8]}", f"{source.name}-{settings[:8]}{files[:12]}.npy"


def _earlier(source: Source, folder: Path) -> Store | None:
    """The newest store of the same folder, made in the same way, whatever files there were."""
    if not source.root:
        return None
    found = [(file.stat().st_mtime_ns, file) for file in folder.glob(f"{_names(source)[0]}*.npy") if file.exists()]
    stores = (_load(file) for _, file in sorted(found, reverse=True))
    return next((store for store in stores if store and store.root == source.root), None)


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
    white, root = metadata["white"], metadata["root"]
    known = metadata["paths"], digests, metadata["corrupt"], file.stem, notices, facts, white, root
    return Store(images, *known)


@contextlib.contextmanager
def _explain_os_errors(folder: Path) -> Iterator[None]:
    """Create the cache folder; convert errors of the file system in the block to a UserError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            problem = f"The disk (or your quota) is full ({error.strerror}). No incomplete file was left."
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
    start, (paths, write), earlier = time.monotonic(), source.read(), _earlier(source, file.parent)
    with atomic_write(file) as temporary:
        target = allocate(temporary, len(paths), source.shape)
        with progress(f"Preparing {len(paths)} images of {source.name}", len(paths)) as advance:
            digests, reasons, facts, notices, white, copied = write(target, advance, earlier)
        _check_unreadable(source.where, paths, reasons)
        rows = [row for row in range(len(paths)) if row not in reasons]
        target.keep(rows)
        corrupt = {paths[row]: reason for row, reason in sorted(reasons.items())}
        metadata = {
            "where": source.where, "root": source.root, "paths": [paths[row] for row in rows], "notices": notices,
            "digests": digests[rows].tolist(), "corrupt": corrupt, "white": white,
        }  # fmt: skip
        if facts is not None:
            save_facts(file.with_suffix(FACTS_FILE), facts[rows])
        write_text(file.with_suffix(".json"), json.dumps(metadata))  # before the array gets its name
    new = f" ({len(paths) - copied} new)" if copied else ""
    log.info("Prepared %d images%s in %.1f s: %s", len(rows), new, time.monotonic() - start, file)


def _check_unreadable(where: str, paths: list[str], reasons: dict[int, str]) -> None:
    """Raise UserError if too many files are unreadable."""
    if len(reasons) > MAX_CORRUPT * len(paths):
        row, reason = min(reasons.items())
        remedy = "Repair or remove them, or check that the folder was copied completely."
        remedy = "Change that setting, or remove these files." if "data." in reason else remedy
        raise UserError(
            f"{where}: {len(reasons)} of {len(paths)} images cannot be read, for example {printable(paths[row])} "
            f"({reason}). At most {MAX_CORRUPT:.0%} are skipped. {remedy}"
        )
