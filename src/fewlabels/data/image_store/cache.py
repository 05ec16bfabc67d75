"""What is in the cache folder: stores of decoded images and the embeddings of their images; and removing them.

Files of one store begin alike: `NAME-KEY` with a KEY of 20 hexadecimal digits, then `.npy`, `.json`, `.facts`, `.lock`
(see `store`), and `-KEY.parquet`, with 12 digits, for embeddings (see `labelling.embedded`). No other file is touched.
"""

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fewlabels.core.errors import UserError

OURS = re.compile(
    r"(?P<name>.+)-(?P<key>[0-9a-f]{20})(?:-[0-9a-f]{12})?\.(?:npy|json|facts|lock|parquet)(?:\.\d+\.tmp)?"
)
"""Names of our files; those that end in .tmp are being written, or were left by a process that was killed."""
SHOWN_KEY = 8
"""Digits of a key in the table; as many as tell it from the others may be given."""
DAY = 86_400


@dataclass(frozen=True)
class Entry:
    """The files of one store.

    Attributes:
        name: Of the data set.
        key: 20 hexadecimal digits.
        where: The folder that the images came from, as data.root named it, or the name of a data set that is no folder;
            empty if unknown, since only embeddings are left or the store is not complete.
        images: Their number; None if unknown.
        embeddings: How many networks' embeddings there are.
        size: Bytes of all files.
        used: When it was last used, seconds since 1970: the latest time at which the array or embeddings were read or
            written. File systems may keep the time of reading by the day (relatime), or not at all (noatime).
        files: All of its files.
    """

    name: str
    key: str
    where: str
    images: int | None
    embeddings: int
    size: int
    used: float
    files: tuple[Path, ...]

    @property
    def source(self) -> str:
        """Of the folder: "exists", "gone", or "" if that is unknown, as of a path relative to another folder."""
        if os.path.isdir(self.where):  # noqa: PTH112 - a Path raises where a name is too long
            return "exists"
        return "gone" if os.path.isabs(self.where) else ""  # noqa: PTH117

    def is_unused(self, days: float, now: float | None = None) -> bool:
        """Whether its folder is gone, or it was not used for so many days."""
        return self.source == "gone" or self.age(now) >= days

    def age(self, now: float | None = None) -> float:
        """Days since it was last used."""
        return ((time.time() if now is None else now) - self.used) / DAY


def list_entries(folder: Path) -> list[Entry]:
    """The stores in a cache folder, the largest first; none if there is no such folder.

    Raises:
        UserError: It cannot be read.
    """
    found: dict[tuple[str, str], list[Path]] = {}
    try:
        for file in sorted(folder.iterdir()) if folder.exists() else ():
            if (ours := OURS.fullmatch(file.name)) and file.is_file() and not file.is_symlink():
                found.setdefault((ours["name"], ours["key"]), []).append(file)
    except OSError as error:
        raise UserError(f"cache_dir={folder} cannot be read ({error.strerror}). Give a folder of stores.") from error
    entries = (_entry(name, key, files) for (name, key), files in found.items())
    return sorted(entries, key=lambda entry: (-entry.size, entry.name, entry.key))


def _entry(name: str, key: str, files: list[Path]) -> Entry:
    status = {file: file.stat() for file in files}
    described: dict[str, object] = {}
    with contextlib.suppress(OSError, ValueError):  # not complete, or damaged: the store would be built anew
        described = dict(json.loads(next(file for file in files if file.suffix == ".json").read_text()))
    data = [status[file] for file in files if file.suffix in (".npy", ".parquet")] or list(status.values())
    paths = described.get("paths")
    return Entry(
        name, key, str(described.get("where", "")), len(paths) if isinstance(paths, list) else None,
        embeddings=sum(file.suffix == ".parquet" for file in files), size=sum(s.st_size for s in status.values()),
        used=max(max(s.st_atime, s.st_mtime) for s in data), files=tuple(files),
    )  # fmt: skip


def choose(entries: Sequence[Entry], clean: str | Sequence[str], days: float) -> list[Entry]:
    """The entries to remove.

    Args:
        entries: Of the cache folder.
        clean: "unused", "all", or the beginnings of keys.
        days: See `Entry.is_unused`.

    Raises:
        UserError: A key is of no entry, or of several.
    """
    if clean == "all":
        return list(entries)
    if clean == "unused":
        return [entry for entry in entries if entry.is_unused(days)]
    keys = [clean] if isinstance(clean, str) else list(clean)
    of_key = {key: [entry for entry in entries if key and entry.key.startswith(key)] for key in keys}
    if wrong := [key for key, matching in of_key.items() if len(matching) != 1]:
        raise UserError(
            f"clean={wrong[0]}: {len(of_key[wrong[0]])} stores have a key that begins so. Give unused, all, or keys "
            "as they are listed, clean=[KEY,KEY]."
        )
    return [entry for entry in entries if any(entry in matching for matching in of_key.values())]


def remove(entries: Sequence[Entry]) -> dict[str, str]:
    """Remove the files of entries, unless another process has one of them open or prepares the store.

    Returns:
        {key: why} of the entries that were kept.
    """
    opened = _open_files() if entries else {}
    return {entry.key: why for entry in entries if (why := _remove(entry, opened))}


def _remove(entry: Entry, opened: dict[str, int]) -> str:
    """Remove one entry; why not, or nothing."""
    if users := [opened[path] for file in entry.files if (path := str(file.resolve())) in opened]:
        return f"process {users[0]} has it open"
    lock = next((file for file in entry.files if file.suffix == ".lock"), None)
    try:
        with _locked(lock) as free:
            if not free:
                return "another process is preparing it"
            for file in sorted(entry.files, key=lambda file: file.suffix != ".json"):  # without it, there is no store
                file.unlink(missing_ok=True)
    except OSError as error:
        return f"it cannot be removed ({error.strerror})"
    return ""


@contextlib.contextmanager
def _locked(lock: Path | None) -> Iterator[bool]:
    """Hold the lock of a store if no other process does; see `store.file_lock`."""
    if lock is None:
        yield True
        return
    with lock.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _open_files() -> dict[str, int]:
    """{path: process} of files, mapped arrays too, that other processes of this user (root: of all users) have open."""
    import psutil

    found: dict[str, int] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid():
                found |= {opened.path: process.pid for opened in process.open_files()}
    return found


def table(entries: Sequence[Entry]) -> str:
    """A table of entries in aligned columns, with their total size."""
    rows = [("key", "data", "images", "networks", "size", "last used", "folder")]
    for entry in entries:
        age, images = entry.age(), "?" if entry.images is None else f"{entry.images:,}"
        used = "today" if age < 1 else f"{age:.0f} days ago"
        where = f"{entry.where or 'unknown'}{' (gone)' if entry.source == 'gone' else ''}"
        networks = str(entry.embeddings or "")
        rows.append((entry.key[:SHOWN_KEY], entry.name, images, networks, shown_size(entry.size), used, where))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = ["  ".join([*(cell.ljust(width) if column < 2 else cell.rjust(width)
                          for column, (cell, width) in enumerate(zip(row, widths, strict=False))), row[-1]])
             for row in rows]  # fmt: skip
    total = shown_size(sum(entry.size for entry in entries))
    return "\n".join([*lines, f"{len(entries)} stores, {total}"]) if entries else "There are no stores."


def shown_size(size: int) -> str:
    """Bytes as text: 1.5 GB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
