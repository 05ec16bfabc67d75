"""Predictions as archives that EcoTaxa imports: images, and a table of them with categories."""

import csv
import io
import os
import re
import warnings
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image

from fewlabels.core.atomic_io import spelled, temporary_folder
from fewlabels.core.errors import UserError
from fewlabels.data.image_store.depths import eight_bits
from fewlabels.data.image_store.facts import FORMATS

MAX_BYTES = 3_900_000_000
"""Of an archive: EcoTaxa takes 4 GB."""
ENTRY_BYTES = 200
"""More than what a zip file writes about one of its files, beside two times its name, and a quoted row's marks."""
MAX_SIDE = 20_000
"""Pixels; larger images are refused by EcoTaxa, and are shrunk."""
KEPT = {"JPEG": ("L", "RGB"), "PNG": ("1", "L", "P", "RGB"), "GIF": ("L", "P")}
"""Formats and modes that EcoTaxa reads as they are; others become PNG."""
COLUMNS = {
    "img_file_name": "[t]", "object_id": "[t]", "object_annotation_category": "[t]",
    "object_annotation_status": "[t]", "object_fewlabels_score": "[f]",
}  # fmt: skip


class Prediction(NamedTuple):
    """One image.

    Attributes:
        path: Relative to the folder of images, posix.
        category: Its class; None: none, and then no status either, since EcoTaxa wants both or none.
        validated: Whether that is a label, and not a guess.
        score: Probability of the class; None: it has none.
    """

    path: str
    category: str | None
    validated: bool
    score: float | None


def write_ecotaxa(
    predictions: Sequence[Prediction], root: Path, directory: Path, white: float | None = None
) -> tuple[list[Path], list[str]]:
    """Write ecotaxa_1.zip, ecotaxa_2.zip, … of at most `MAX_BYTES` each, all of them or none.

    Each has the images, in their folders, and ecotaxa_fewlabels.tsv: tab-separated UTF-8 with a byte order mark
    (without it EcoTaxa reads Latin-1); the names of the columns; their types; and a row per image, which is one
    object named by its path. Labels are "validated", guesses "predicted".

    Args:
        predictions: At least one.
        root: The folder of images.
        directory: Where to write.
        white: Of images of more than 8 bits, see `Decoding`.

    Returns:
        The archives, and paths of images that were shrunk to `MAX_SIDE`.

    Raises:
        UserError: An image cannot be read any more.
        OSError: An archive cannot be written.
    """
    rest, shrunk, parts = list(reversed(predictions)), list[str](), list[Path]()
    with temporary_folder(directory / "ecotaxa") as temporary:
        while rest:
            parts.append(temporary / f"ecotaxa_{len(parts) + 1}.zip")
            shrunk += _write_part(rest, root, parts[-1], white)
        return [part.replace(directory / part.name) for part in parts], shrunk


def _write_part(rest: list[Prediction], root: Path, file: Path, white: float | None) -> list[str]:
    """Write an archive of as many images as fit, at least one, which are taken from the end of `rest`.

    Returns:
        Paths of images that were shrunk.
    """
    rows, shrunk, after = list[list[str]](), list[str](), len(table([]))
    with file.open("wb") as stream:
        with zipfile.ZipFile(stream, "w") as archive:
            while rest:
                name, content, smaller = _image(root, rest[-1].path, white)
                while name in archive.NameToInfo:  # "a.tif" becomes "a.tif.png", which may be an image too
                    name = str(PurePosixPath(name).with_stem(f"{PurePosixPath(name).stem}_"))
                row = _row(name, rest[-1])
                size = 2 * len(os.fsencode(name)) + len(content) + len("\t".join(row).encode()) + ENTRY_BYTES
                if rows and stream.tell() + after + size > MAX_BYTES:
                    break
                archive.writestr(name, content)  # images are compressed already
                after += size - len(content) - len(os.fsencode(name))  # of the table and of the archive's own list
                shrunk += [rest.pop().path] * smaller
                rows.append(row)
            archive.writestr("ecotaxa_fewlabels.tsv", table(rows), zipfile.ZIP_DEFLATED)
        stream.flush()
        os.fsync(stream.fileno())
    return shrunk


def table(rows: Iterable[Sequence[str]]) -> bytes:
    """The bytes of a table: byte order mark, names, types, rows."""
    text = io.StringIO()
    writer = csv.writer(text, "excel-tab", lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerow(COLUMNS.values())
    writer.writerows(rows)
    return text.getvalue().encode("utf-8-sig")


def _row(name: str, prediction: Prediction) -> list[str]:
    status = "" if prediction.category is None else "validated" if prediction.validated else "predicted"
    category = " ".join((prediction.category or "").split())  # a tab or a line break would end the column
    score = "" if prediction.score is None else f"{prediction.score:.4f}"
    return [name, _plain(prediction.path), spelled(category), status, score]


def _image(root: Path, path: str, white: float | None) -> tuple[str, bytes, bool]:
    """Name and content of an image in the archive, and whether it was shrunk."""
    file = root / path
    try:
        with warnings.catch_warnings(), Image.open(file, formats=FORMATS) as image:
            warnings.simplefilter("ignore")  # of large images, and of odd metadata
            large = max(image.size) > MAX_SIDE
            if image.mode in KEPT.get(str(image.format), ()) and not large:
                return _plain(path), file.read_bytes(), False
            converted = eight_bits(image, white)
            converted.thumbnail((MAX_SIDE, MAX_SIDE))
            buffer = io.BytesIO()
            converted.save(buffer, "png")
    except OSError as error:
        raise UserError(
            f"{file} cannot be read any more ({error}). Put it back, or leave out formats=[ecotaxa]."
        ) from error
    return f"{_plain(path)}.png", buffer.getvalue(), large


def _plain(path: str) -> str:
    """A path without tabs and line breaks, `spelled` in UTF-8."""
    return re.sub(r"[\t\n\r]", " ", spelled(path))
