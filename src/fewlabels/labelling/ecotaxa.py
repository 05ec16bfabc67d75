"""Predictions as archives that EcoTaxa imports: images, and a table of them with categories."""

import csv
import io
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from fewlabels.core.atomic_io import atomic_write
from fewlabels.core.errors import UserError
from fewlabels.data.image_store.decode import FORMATS, eight_bits

MAX_BYTES = 3_900_000_000
"""Of the images in one archive: EcoTaxa takes 4 GB."""
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
        category: Its class.
        validated: Whether that is a label, and not a guess.
        score: Probability of the class.
    """

    path: str
    category: str
    validated: bool
    score: float


def write_ecotaxa(predictions: Sequence[Prediction], root: Path, directory: Path) -> tuple[list[Path], list[str]]:
    """Write ecotaxa_1.zip, ecotaxa_2.zip, … of at most `MAX_BYTES` each.

    Each has the images, in their folders, and ecotaxa_fewlabels.tsv: tab-separated UTF-8 with a byte order mark
    (without it EcoTaxa reads Latin-1); the names of the columns; their types; and a row per image, which is one
    object named by its path. Labels are "validated", guesses "predicted".

    Args:
        predictions: At least one.
        root: The folder of images.
        directory: Where to write.

    Returns:
        The archives, and paths of images that were shrunk to `MAX_SIDE`.

    Raises:
        UserError: An image cannot be read any more.
        OSError: An archive cannot be written.
    """
    archives, shrunk = [], []
    for number, part in enumerate(_parts(predictions, root), 1):
        archives.append(directory / f"ecotaxa_{number}.zip")
        with atomic_write(archives[-1]) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            rows = []
            for prediction in part:
                name, content, smaller = _image(root, prediction.path)
                archive.writestr(name, content)  # images are compressed already
                shrunk += [prediction.path] * smaller
                rows.append(_row(name, prediction))
            archive.writestr("ecotaxa_fewlabels.tsv", table(rows), zipfile.ZIP_DEFLATED)
    return archives, shrunk


def table(rows: Iterable[Sequence[str]]) -> bytes:
    """The bytes of a table: byte order mark, names, types, rows."""
    text = io.StringIO()
    writer = csv.writer(text, "excel-tab", lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerow(COLUMNS.values())
    writer.writerows(rows)
    return text.getvalue().encode("utf-8-sig")


def _row(name: str, prediction: Prediction) -> list[str]:
    status = "validated" if prediction.validated else "predicted"
    values = [name, prediction.path, prediction.category, status, f"{prediction.score:.4f}"]
    return [" ".join(value.split()) for value in values]  # a tab or a line break would end the column


def _parts(predictions: Sequence[Prediction], root: Path) -> Iterator[list[Prediction]]:
    """Divide the images so that no part exceeds `MAX_BYTES`."""
    part: list[Prediction] = []
    size = 0
    for prediction in predictions:
        length = (root / prediction.path).stat().st_size if (root / prediction.path).is_file() else 0
        if part and size + length > MAX_BYTES:
            yield part
            part, size = [], 0
        part.append(prediction)
        size += length
    yield part


def _image(root: Path, path: str) -> tuple[str, bytes, bool]:
    """Name and content of an image in the archive, and whether it was shrunk."""
    file = root / path
    try:
        with warnings.catch_warnings(), Image.open(file, formats=FORMATS) as image:
            warnings.simplefilter("ignore")  # of large images, and of odd metadata
            large = max(image.size) > MAX_SIDE
            if image.mode in KEPT.get(str(image.format), ()) and not large:
                return _plain(path), file.read_bytes(), False
            converted = eight_bits(image)
            converted.thumbnail((MAX_SIDE, MAX_SIDE))
            buffer = io.BytesIO()
            converted.save(buffer, "png")
    except OSError as error:
        raise UserError(f"{file} cannot be read any more ({error}). Put it back, or leave ecotaxa=false.") from error
    return f"{_plain(path)}.png", buffer.getvalue(), large


def _plain(path: str) -> str:
    """A name in an archive without line breaks or tabs."""
    return " ".join(path.split()) if any(character in path for character in "\t\n\r") else path
