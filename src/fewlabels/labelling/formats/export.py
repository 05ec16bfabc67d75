"""Write predictions in the formats of other programs."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fewlabels.core.errors import UserError
from fewlabels.labelling.formats.files import safe_name

if TYPE_CHECKING:  # so that a mistake on a command line need not wait for torch
    import pandas as pd

    from fewlabels.core.interfaces import ImageData
    from fewlabels.labelling.embedded import EmbeddedImages

log = logging.getLogger(__name__)
FORMATS = ("ecotaxa", "folders", "fiftyone", "embedding_atlas")
SHOWN = 3


def check_formats(formats: Sequence[str], data: "ImageData") -> None:
    """Raise UserError if a format needs image files, and the images are none, such as synthetic ones."""
    if data.folder is None and (needing := [name for name in formats if name != "embedding_atlas"]):
        raise UserError(
            f"formats=[{','.join(needing)}] needs image files, and data={data.name} has none (with "
            "data.pages=all, images are pages of files). Give data.root=FOLDER with data.pages=first, or leave "
            "formats=[] or [embedding_atlas]."
        )


def export(
    formats: Sequence[str], table: "pd.DataFrame", images: "EmbeddedImages", classes: Sequence[str], directory: Path
) -> None:
    """Write predictions in each of the `formats`.

    Args:
        formats: Of `FORMATS`.
        table: predictions.csv, with the columns path, class, probability and from.
        images: Of its rows.
        classes: Of the labels; a guess that is none of them is exported to EcoTaxa without a category.
        directory: Where to write.

    Raises:
        UserError: As `check_formats`; or an image cannot be read any more.
        OSError: The disk is full.
    """
    check_formats(formats, images.data)
    if "folders" in formats:
        for name in classes:
            safe_name(name)  # before anything is written
    for name in dict.fromkeys(formats):
        if name == "embedding_atlas":
            from fewlabels.labelling.formats.embedding_atlas import write_embedding_atlas

            write_embedding_atlas(table, images.points, directory / "embedding_atlas.parquet")
            log.info("For Embedding Atlas: embedding-atlas %s --x x --y y --neighbors neighbors",
                     directory / "embedding_atlas.parquet")  # fmt: skip
        elif images.data.folder is not None:
            _export_images(name, table, images.data, classes, directory)


def _export_images(
    name: str, table: "pd.DataFrame", data: "ImageData", classes: Sequence[str], directory: Path
) -> None:
    from fewlabels.labelling.formats import ecotaxa, fiftyone, folders

    root = data.folder or Path()
    columns = zip(table["path"], table["class"], table["from"] == "label", table["probability"], strict=True)
    predictions = [
        ecotaxa.Prediction(path, label, bool(given), None if math.isnan(score) else float(score))
        for path, label, given, score in columns
    ]
    if name == "ecotaxa":
        known = set(classes)
        named = [p if p.validated or p.category in known else p._replace(category=None) for p in predictions]
        archives, shrunk = ecotaxa.write_ecotaxa(named, root, directory, data.white)
        if shrunk:
            log.warning("%d images of more than %d pixels were shrunk, such as %s.", len(shrunk), ecotaxa.MAX_SIDE,
                        shrunk[0])  # fmt: skip
        log.info("For EcoTaxa: %s", ", ".join(map(str, archives)))
    elif name == "folders":
        copies, renamed = folders.write_folders(predictions, root, directory / "classes")
        if renamed:
            log.info("%d names are written differently in the folders of classes, such as %s: %%2F is a slash.",
                     len(renamed), ", ".join(renamed[:SHOWN]))  # fmt: skip
        log.info("A folder of %s per class: %s", _kind(copies), directory / "classes")
    else:
        copies = fiftyone.write_fiftyone(predictions, root, directory / "fiftyone")
        log.info("For FiftyOne, a FiftyOneImageClassificationDataset with %s: %s", _kind(copies),
                 directory / "fiftyone")  # fmt: skip


def _kind(copies: int) -> str:
    """What images are, for messages."""
    return "copies (this file system has no links)" if copies else "links to the images"
