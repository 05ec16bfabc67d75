"""Class names of images from a labels.csv with the columns path and label."""

import codecs
import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fewlabels.core.errors import UserError

COLUMNS = ("path", "label")
SHOWN = 3
"""Examples in a message."""


def file_names(paths: Sequence[str], file: str) -> tuple[np.ndarray, list[str]]:
    """The label of every image in a labels.csv, whatever folder it is in.

    Args:
        paths: [N] relative posix paths of the images.
        file: See `read_labels`.

    Returns:
        Class names, object [N], "" of unlabelled images; and sentences on what looks wrong: labels of images that are
        not there, classes with a single label, and classes whose names differ in case, spaces or punctuation alone.

    Raises:
        UserError: As `read_labels`, or no labelled path is among the images.
    """
    labels = read_labels(file)
    names = np.array([labels.get(normal_path(path), "") for path in paths], dtype=object)
    missing = sorted(labels.keys() - {normal_path(path) for path in paths})
    if len(missing) == len(labels):
        raise UserError(
            f"data.labels={file}: none of its {len(labels)} labelled paths, such as {missing[0]}, is among the "
            f"{len(paths)} images, such as {paths[0]}. Paths are relative to data.root: correct one of the two."
        )
    notices = []
    if missing:
        notices.append(
            f"{len(missing)} of {len(labels)} labels in {file} are of images that are not in data.root, such as "
            f"{', '.join(missing[:SHOWN])}; they are left out, and stay in the file."
        )
    counts = Counter(names[names != ""].tolist())
    if single := sorted(name for name, count in counts.items() if count == 1):
        notices.append(
            f"{len(single)} classes of {file} have a single label, such as {', '.join(single[:SHOWN])}: too few to "
            "train on and test it too."
        )
    return names, notices + [
        f"{file} has the classes {' and '.join(f'{name!r} ({counts[name]})' for name in alike)}: if they are the same, "
        "write one of the names in all their rows."
        for alike in similar_names(counts)
    ]


def read_labels(file: str) -> dict[str, str]:
    """Read the labels of a labels.csv; see `read_table`. An empty label means unlabelled.

    Returns:
        {path: label} of the labelled images; see `normal_path`.

    Raises:
        UserError: There is no such file, it is not such a table, it has no label, or two labels for one image.
    """
    try:
        labels = read_table(Path(file).expanduser()).labels(f"data.labels={file}")
    except OSError as error:
        raise UserError(
            f"data.labels={file} cannot be read ({error.strerror}). Give a CSV file with the columns path and label."
        ) from error
    if not labels:
        raise UserError(f"data.labels={file} has no label: the column label is empty. Label some images first.")
    return labels


class Table(NamedTuple):
    """A labels.csv as it is on disk.

    Attributes:
        columns: Their names, in order.
        rows: (line number, {column: text}) of every image.
        delimiter: Between columns.
        encoding: "utf-8", or "utf-8-sig" with a byte order mark.
    """

    columns: list[str]
    rows: list[tuple[int, dict[str, str]]]
    delimiter: str
    encoding: str

    def labels(self, where: str) -> dict[str, str]:
        """{normal path: label} of the labelled images.

        Args:
            where: The file, for the message.

        Raises:
            UserError: Two rows give one image different labels.
        """
        labels: dict[str, str] = {}
        lines: dict[str, int] = {}
        for line, row in self.rows:
            path, label = normal_path(row["path"]), row["label"].strip()
            if path in lines and labels.get(path, "") != label:
                raise UserError(
                    f"{where}: {path} has the label {labels.get(path, '')!r} in line {lines[path]}, and {label!r} in "
                    f"line {line}. Keep one of the two rows."
                )
            lines[path] = line
            if label:
                labels[path] = label
        return labels


def read_table(file: Path) -> Table:
    """Read a labels.csv with all its columns; commas, semicolons or tabs are between them, as spreadsheets write them.

    Raises:
        UserError: It is not UTF-8 (beside paths, which are as on disk), has no columns path and label, or a row without
            one of them.
        OSError: It cannot be read.
    """
    content = file.read_bytes()
    encoding = "utf-8-sig" if content.startswith(codecs.BOM_UTF8) else "utf-8"
    text = content.decode(encoding, "surrogateescape")  # file names need not be UTF-8; all else must be
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
        raise UserError(
            f"data.labels={file} has no column {' and '.join(missing)}. Its first line must name the columns: "
            f"path,label; it is {header.strip()!r}."
        )
    rows = [(reader.line_num, row) for row in reader]
    for line, row in rows:
        others = "".join(str(text) for column, text in row.items() if column != "path")
        if re.search("[\udc80-\udcff]", others):
            raise UserError(f"data.labels={file} is not UTF-8 (in line {line}): save it as CSV UTF-8.")
        if None in row or None in row.values() or (row["label"].strip() and not row["path"].strip()):
            raise UserError(
                f"data.labels={file}: line {line} has not one value for each of the columns "
                f"{delimiter.join(reader.fieldnames or ())}, or no path: {', '.join(map(str, row.values()))}."
            )
    return Table(list(reader.fieldnames or ()), rows, delimiter, encoding)


def normal_path(path: str) -> str:
    """A path as it is compared: posix, without "./" in front, in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", path.strip().replace("\\", "/")).removeprefix("./")


def similar_names(names: Sequence[str] | Counter[str]) -> list[list[str]]:
    """Groups of class names that differ in case, spaces and punctuation alone, sorted."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(re.sub(r"[\W_]+", "", name).casefold(), []).append(name)
    return [group for key, group in groups.items() if key and len(group) > 1]
