"""labels.csv while it is edited: every change is on disk, whole, before it is acknowledged."""

import contextlib
import csv
import fcntl
import io
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from fewlabels.core.atomic_io import atomic_write
from fewlabels.core.errors import UserError
from fewlabels.data.splits.labels import Table, normal_path, read_table

log = logging.getLogger(__name__)
Labels = dict[str, str]
"""{normal path: label}; an image without a label is not in it."""


class ConflictError(Exception):
    """A label is no longer what its editor saw; `labels` has what the images in question have now."""

    def __init__(self, labels: dict[str, str | None]) -> None:
        super().__init__(f"{len(labels)} labels were changed elsewhere")
        self.labels = labels


class Change(NamedTuple):
    """One action that can be undone.

    Attributes:
        editor: Who made it, such as a tab of a browser.
        before: {normal path: label or None} before it.
        after: Likewise after it.
    """

    editor: str
    before: dict[str, str | None]
    after: dict[str, str | None]


class LabelsFile:
    """The labels of a labels.csv, which is written anew at each change and read anew if another program changed it.

    Columns besides path and label, rows of images that are not there, and their order are kept. Not thread-safe.

    Args:
        file: Created at the first change if it does not exist.

    Raises:
        UserError: It is no labels.csv, names one image twice with different labels, or cannot be read.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.changes: list[Change] = []
        self._stamp: tuple[int, int, int] | None = None
        self._table = Table(["path", "label"], [], ",", "utf-8")
        self.labels: Labels = {}
        self.refresh()

    def refresh(self) -> bool:
        """Read the file again if another program changed it; returns whether it did.

        If it has been removed, its labels are kept, and the next change writes all of them.

        Raises:
            UserError: It cannot be read any more, and so must not be written.
        """
        stamp = _stamp(self.file)
        if stamp == self._stamp:
            return False
        if stamp is None:
            log.warning("%s has been removed. Its %d labels are written again at the next change.", self.file,
                        len(self.labels))  # fmt: skip
            self._stamp = None
            return False
        try:
            table = read_table(self.file) if stamp[1] else self._table._replace(rows=[])  # an empty file has no header
            labels = table.labels(str(self.file))
        except OSError as error:
            raise UserError(
                f"labels={self.file} cannot be read ({error.strerror}). Give a CSV file, such as FOLDER/labels.csv."
            ) from error
        self._stamp, self._table, self.labels = stamp, table, labels
        return True

    def assign(self, labels: Mapping[str, str | None], expected: Mapping[str, str | None], editor: str = "") -> None:
        """Give labels to images, or take them away; on disk when this returns.

        Args:
            labels: {path: label}; None takes a label away.
            expected: {path: label or None} that the editor saw.
            editor: Who does it, for `undo`.

        Raises:
            ConflictError: Some images have other labels than the editor saw. Nothing is changed.
            OSError: The file cannot be written, for instance because the disk is full. Nothing is changed.
        """
        self.refresh()
        after = {normal_path(path): (label or "").strip() or None for path, label in labels.items()}
        seen = {normal_path(path): label for path, label in expected.items()}
        now = {path: self.labels.get(path) for path in after}
        if differing := {path: label for path, label in now.items() if seen.get(path) != label}:
            raise ConflictError(differing)
        self._write(after)
        self.changes.append(Change(editor, now, after))

    def undo(self, editor: str = "") -> Change | None:
        """Take back the editor's last change that is not yet taken back; returns it, or None if there is none.

        Raises:
            ConflictError: Some of its labels were changed since. Nothing is changed; that change is given up.
            OSError: The file cannot be written. Nothing is changed.
        """
        self.refresh()
        place = next((i for i in reversed(range(len(self.changes))) if self.changes[i].editor == editor), None)
        if place is None:
            return None
        change = self.changes[place]
        now = {path: self.labels.get(path) for path in change.after}
        if differing := {path: label for path, label in now.items() if label != change.after[path]}:
            del self.changes[place]
            raise ConflictError(differing)
        self._write(change.before)
        del self.changes[place]
        return change

    def _write(self, changed: Mapping[str, str | None]) -> None:
        """Write the file with changed labels, then change them here."""
        labels = {path: label for path, label in (self.labels | dict(changed)).items() if label}
        table, known = self._table, set[str]()
        rows = []
        for line, row in table.rows:
            path = normal_path(row["path"])
            known.add(path)
            rows.append((line, row | {"label": labels.get(path, "")} if path in changed else row))
        last = rows[-1][0] if rows else 1
        new = [path for path in changed if path not in known and changed[path]]
        rows += [
            (last + place, dict.fromkeys(table.columns, "") | {"path": path, "label": labels[path]})
            for place, path in enumerate(new, 1)
        ]
        table = table._replace(rows=rows)
        with atomic_write(self.file) as temporary:
            temporary.write_text(_as_text(table), encoding=table.encoding, errors="surrogateescape", newline="")
        _sync_folder(self.file.parent)
        self._stamp, self._table, self.labels = _stamp(self.file), table, labels


def _as_text(table: Table) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, table.columns, delimiter=table.delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for _, row in table.rows)
    return text.getvalue()


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """Changes when another program writes the file; None if there is none."""
    with contextlib.suppress(FileNotFoundError):
        status = file.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns
    return None


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def only_editor(file: Path, where: str) -> Iterator[None]:
    """Hold the right to edit a labels.csv; the system releases it when the process ends, however it ends.

    Args:
        file: The labels.csv; the lock is beside it, and has `where` in it.
        where: How to find this editor, such as the address of its page.

    Raises:
        UserError: Another process holds it; the message has its `where`. Or the folder cannot be written.
    """
    lock = file.with_name(f".{file.name}.lock")
    try:
        opened = lock.open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"labels={file}: its folder cannot be written ({error.strerror}). Give labels=FILE.") from error
    with opened as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            raise UserError(
                f"{file} is being edited already: {handle.read().strip()}. Use that page, or stop that process."
            ) from None
        handle.truncate(0)
        handle.write(where)
        handle.flush()
        yield
