"""Read what EcoTaxa exports: its tables and images, in a zip file or in a folder.

As EcoTaxa writes them (ecotaxa_back, py/API_operations/exports/ForProject.py): tables are named ecotaxa_*.tsv, are
tab-separated with quotes, and UTF-8 with a byte order mark or Latin-1; a backup, and others on demand, have a second
line of types, [t] or [f]. Images are named relative to their table:

- general export: the tables at the top, images in a folder per sample, acquisition or project; some of an object's
  images may be named RANK/NAME.
- D.O.I. export: one table at the top, images/CATEGORY__ID/OBJECT_RANK.jpg.
- backup: a folder per sample, with its table and its images.
"""

import codecs
import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from fewlabels.core.errors import UserError

REQUIRED = ("object_id", "object_annotation_category", "object_annotation_status")
STATUS = {
    "validated": "validated", "v": "validated", "predicted": "predicted", "p": "predicted", "dubious": "dubious",
    "d": "dubious", "": "",
}  # fmt: skip
"""By EcoTaxa's words and its letters; empty: not classified."""
NO_CATEGORY = ("", "NoCategory")
USED = (*REQUIRED, "img_file_name", "img_rank", "sample_id", "objid")
TABLE = re.compile(r"ecotaxa.*\.(tsv|txt|csv)", re.IGNORECASE)
REMEDY = "Give export=FILE.zip as EcoTaxa exported it, or the folder that it was unpacked to."


class Row(NamedTuple):
    """One image of an object, or an object without image.

    Attributes:
        object_id: The object's name.
        sample: That of its sample; "" if the table does not say.
        number: EcoTaxa's own number of the object; "" if the table does not say.
        category: As EcoTaxa displays it, such as "part<Crustacea"; "" if there is none.
        status: "validated", "predicted", "dubious", or "".
        rank: Of the image among the object's; None if the table does not say.
        image: Its path in the export; "" if the table names none.
    """

    object_id: str
    sample: str
    number: str
    category: str
    status: str
    rank: int | None
    image: str


class Export:
    """The files of an export, which is closed when a `with` block ends.

    Args:
        path: A zip file or a folder.

    Attributes:
        sizes: {posix path: bytes}.

    Raises:
        UserError: It is neither, cannot be read, or has a path that leads outside it.
    """

    def __init__(self, path: str) -> None:
        self.path, self.zip = Path(path).expanduser(), None
        if self.path.is_dir():
            files = [file for file in self.path.rglob("*") if file.is_file()]
            self.sizes = {file.relative_to(self.path).as_posix(): file.stat().st_size for file in files}
            return
        try:
            self.zip = zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no complete zip file"
            raise UserError(f"export={path} cannot be read ({reason}). {REMEDY}") from error
        self.sizes = {info.filename: info.file_size for info in self.zip.infolist() if not info.is_dir()}
        if outside := [name for name in self.sizes if _leads_outside(name)]:
            raise UserError(f"export={path} is unsafe, and nothing was read: {outside[0]!r} is outside of it. {REMEDY}")

    def __enter__(self) -> "Export":
        return self

    def __exit__(self, *_: object) -> None:
        if self.zip:
            self.zip.close()

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading.

        Raises:
            UserError: It cannot be read: damaged, or with a password.
        """
        try:
            return (self.path / name).open("rb") if self.zip is None else self.zip.open(name)
        except (OSError, zipfile.BadZipFile, RuntimeError) as error:  # RuntimeError: a password, or unknown compression
            raise UserError(f"export={self.path}: {name} cannot be read ({error}). {REMEDY}") from error

    def copy(self, name: str, target: IO[bytes]) -> None:
        """Copy the content of a file to an open one.

        Raises:
            UserError: It is damaged.
            OSError: It cannot be written.
        """
        with self.open(name) as source:
            while block := self._read(source, name):
                target.write(block)

    def _read(self, source: IO[bytes], name: str) -> bytes:
        try:
            return source.read(1 << 20)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise UserError(f"export={self.path}: {name} is damaged ({error}). Download the export again.") from error

    def rows(self) -> Iterator[Row]:
        """The rows of all tables.

        Raises:
            UserError: There is no table, or one that is no such table.
        """
        tables = sorted(name for name in self.sizes if TABLE.fullmatch(PurePosixPath(name).name))
        tables = tables or sorted(name for name in self.sizes if re.search(r"(^|/)[^./][^/]*\.tsv$", name))
        if not tables:
            found = ", ".join(sorted(self.sizes)[:5]) or "nothing"
            inner = any(name.lower().endswith(".zip") for name in self.sizes)
            advice = "It has zip files inside: unpack it, and give these: export=[A.zip,B.zip]." if inner else REMEDY
            raise UserError(f"export={self.path} has no table ecotaxa_*.tsv (found: {found}). {advice}")
        for table in tables:
            content = io.BytesIO()
            self.copy(table, content)
            try:
                yield from _rows(content.getvalue(), table, f"export={self.path}: {table}")
            except csv.Error as error:
                raise UserError(f"export={self.path}: {table} is no table ({error}). {REMEDY}") from error


def _leads_outside(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name) is not None


def _rows(content: bytes, table: str, where: str) -> Iterator[Row]:
    """Rows of a table, named `where` in messages."""
    text = _decoded(content)
    header = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max("\t;,", key=header.count))
    names = [name.strip().lower() for name in next(reader, [])]
    if missing := [name for name in REQUIRED if name not in names]:
        raise UserError(
            f"{where} has no column {' and '.join(missing)}; it has {len(names)}: {', '.join(names[:8])}, … Is it a "
            "summary? Give a general, D.O.I. or backup export."
        )
    places = {name: names.index(name) for name in USED if name in names}
    for cells in reader:
        if not any(cells) or all(re.fullmatch(r"\[[tf]\]", cell.strip()) for cell in cells):
            continue  # an empty line, or the types
        if len(cells) <= max(places.values()):
            raise UserError(f"{where}, line {reader.line_num} has {len(cells)} values for {len(names)} columns: the "
                            "table has been edited, or cut off. Export it again.")  # fmt: skip
        yield _row({name: cells[place].strip() for name, place in places.items()}, table,
                   f"{where}, line {reader.line_num}")  # fmt: skip


def _row(value: dict[str, str], table: str, where: str) -> Row:
    status, image = value["object_annotation_status"].lower(), value.get("img_file_name", "").replace("\\", "/")
    if status not in STATUS:
        raise UserError(f"{where}: the status {status!r} is none of validated, predicted, dubious, V, P, D and empty.")
    if not value["object_id"]:
        raise UserError(f"{where}: the object has no object_id.")
    if _leads_outside(image):
        raise UserError(f"{where}: the image {image!r} is outside of the export. Nothing was read.")
    category = "" if value["object_annotation_category"] in NO_CATEGORY else value["object_annotation_category"]
    rank = value.get("img_rank", "")
    return Row(
        value["object_id"], value.get("sample_id", ""), value.get("objid", ""), category, STATUS[status],
        int(rank) if re.fullmatch("[0-9]{1,9}", rank) else None,
        str(PurePosixPath(table).parent / image) if image else "",
    )  # fmt: skip


def _decoded(content: bytes) -> str:
    """UTF-8, with or without a byte order mark, else Latin-1."""
    if content.startswith(codecs.BOM_UTF8):
        return content.decode("utf-8-sig", "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
