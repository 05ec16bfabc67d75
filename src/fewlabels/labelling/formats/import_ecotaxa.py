"""Make a folder of images and a labels.csv from an export of EcoTaxa."""

import csv
import io
import logging
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fewlabels.core.atomic_io import atomic_folder, unspelled, write_text
from fewlabels.core.errors import UserError
from fewlabels.data.image_store.folder import EXTENSIONS
from fewlabels.data.image_store.progress import progress
from fewlabels.labelling.formats.ecotaxa_tables import Export, Row
from fewlabels.labelling.formats.files import folded, safe_name, unique_name

log = logging.getLogger(__name__)
GROUP = "^(.*)_[0-9]+[.]"
"""Of a path, what images of one object have in common; see `group_names`."""
COLUMNS = ("path", "label", "guess", "status", "object_id")


class Found(NamedTuple):
    """A row of a table, its export, and whether that has the image."""

    row: Row
    export: Export
    there: bool


def import_ecotaxa(exports: Sequence[str], to: str) -> None:
    """Write the images of exports, and labels.csv, into a folder: all of it or nothing.

    A validated category becomes the label; a predicted or dubious one the guess, beside an empty label. Objects that
    Fewlabels exported are named by the path of their image and get this path again, so that labels.csv fits the
    original folder too. Others become SAMPLE/OBJECT_RANK.jpg, so that `GROUP` tells which images show one object.

    Args:
        exports: Zip files or folders; see `ecotaxa_tables`.
        to: A new or empty folder.

    Raises:
        UserError: An export cannot be read, or has no images; `to` is in use, cannot be written, or the disk is full.
    """
    folder = Path(to).expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"to={to} is a file or a folder with files in it. Give a new or empty folder.")
    with ExitStack() as stack:
        opened = [stack.enter_context(Export(path)) for path in exports]
        found = [Found(row, export, row.image in export.sizes) for export in opened for row in export.rows()]
        found = _without_repeated(found)
        there = [each for each in found if each.there]
        own = _own_paths(there or found)
        kept = there or (found if own else [])
        _check(kept, found, exports, folder)
        paths = own or _object_paths(kept)
        try:
            with atomic_folder(folder.resolve()) as temporary:
                _copy(kept, paths, temporary)
                write_text(temporary / "labels.csv", _labels(kept, paths))
        except OSError as error:
            raise UserError(
                f"to={to} cannot be written ({error.strerror or error}); nothing was kept. Give a folder elsewhere."
            ) from error
    _report(kept, folder)


def _object(each: Found) -> tuple[str, str, str]:
    """What tells one object from another."""
    return each.row.sample, each.row.object_id, each.row.number


def _without_repeated(found: list[Found]) -> list[Found]:
    """Without rows of an image that another row has; older backups have one row per rank and one file for all."""
    seen, kept = set[tuple[Path, str]](), list[Found]()
    for each in found:
        if not each.there or (each.export.path, each.row.image) not in seen:
            kept.append(each)
            seen.add((each.export.path, each.row.image))
    if len(kept) < len(found):
        log.info("%d rows name an image that another row names too; they are left out.", len(found) - len(kept))
    return kept


def _own_paths(found: list[Found]) -> list[str] | None:
    """The paths that Fewlabels gave the objects as names; None if some are no paths of images, or two are equal."""
    paths = [unspelled(each.row.object_id) for each in found]
    if len({folded(path) for path in paths}) < len(paths):
        return None
    fits = all(
        PurePosixPath(path).suffix.lower() in EXTENSIONS and not PurePosixPath(path).is_absolute()
        and all(part and safe_name(part) == part for part in path.split("/"))
        for path in paths
    )  # fmt: skip
    return paths if fits else None


def _object_paths(kept: list[Found]) -> list[str]:
    """SAMPLE/OBJECT_RANK.jpg for each image; without the folder if the table has no samples."""
    folders, names, taken = dict[str, str](), dict[tuple[str, str, str], str](), dict[str, set[str]]()
    ranks: dict[tuple[str, str, str], set[int]] = {}
    paths = []
    for each in kept:
        key, sample = _object(each), each.row.sample
        if sample not in folders:
            folders[sample] = unique_name(sample, taken.setdefault("/", set())) if sample else ""
        if key not in names:
            names[key] = unique_name(each.row.object_id, taken.setdefault(sample, set()))
        used = ranks.setdefault(key, set())
        rank = max(used, default=-1) + 1 if each.row.rank is None or each.row.rank in used else each.row.rank
        used.add(rank)
        file = f"{names[key]}_{rank}{PurePosixPath(each.row.image).suffix.lower()}"
        paths.append(f"{folders[sample]}/{file}" if sample else file)
    return paths


def _check(kept: list[Found], found: list[Found], exports: Sequence[str], folder: Path) -> None:
    """Raise UserError if there is nothing to import, or no space for it; say how many images are missing."""
    where = f"export={','.join(exports)}"
    if not found:
        raise UserError(f"{where}: its tables have no rows. Export a project with objects.")
    if not kept:
        raise UserError(
            f"{where} has none of the images of its {len(found)} rows"
            f"{f', such as {found[0].row.image}' if found[0].row.image else ''}. Export it again, with images."
        )
    if missing := [each.row.image or each.row.object_id for each in found if not each.there]:
        log.warning("%d of %d images that the tables name are not in the export, such as %s.%s", len(missing),
                    len(found), missing[0], " They are left out." if len(kept) < len(found) else "")  # fmt: skip
    size = sum(each.export.sizes[each.row.image] for each in kept if each.there)
    above = next(parent for parent in folder.parents if parent.exists())
    if (free := shutil.disk_usage(above).free) < size:
        raise UserError(f"to={folder}: the images need {size:,} bytes, and {free:,} are free. Give a folder elsewhere.")


def _copy(kept: list[Found], paths: list[str], folder: Path) -> None:
    with progress(f"Copying {len(kept):,} images", len(kept)) as advance:
        for each, path in zip(kept, paths, strict=True):
            if each.there:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                with (folder / path).open("wb") as file:
                    each.export.copy(each.row.image, file)
            advance(1)


def _labels(kept: list[Found], paths: list[str]) -> str:
    """The text of labels.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for (row, *_), path in zip(kept, paths, strict=True):
        validated = row.status == "validated"
        label, guess = (row.category, "") if validated else ("", row.category)
        writer.writerow([path, label, guess, row.status if row.category else "", row.object_id])
    return text.getvalue()


def _report(kept: list[Found], folder: Path) -> None:
    named = [each.row.status == "validated" for each in kept if each.row.category]
    objects = len({_object(each) for each in kept})
    log.info("%s images of %s objects: %d validated (label), %d predicted or dubious (guess), %d without a category.",
             f"{len(kept):,}", f"{objects:,}", sum(named), len(named) - sum(named), len(kept) - len(named))  # fmt: skip
    if not kept[0].there:
        log.warning("The export has no images. The labels are for images of these names: data.labels=%s",
                    folder / "labels.csv")  # fmt: skip
        return
    log.info("Use them with data.root=%s data.labels=%s", folder, folder / "labels.csv")
    if objects < len(kept):
        log.info("Objects have several images. To keep these on one side of every split: \"data.group='%s'\"", GROUP)
