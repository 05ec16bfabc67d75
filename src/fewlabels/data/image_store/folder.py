"""List a folder of images, and describe it as a source of a store."""

import errno
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fewlabels.core.errors import UserError
from fewlabels.data.image_store.decode import VERSION, Decoding, Target, page_of
from fewlabels.data.image_store.facts import FORMATS, PAGED, open_regular, printable, quietly
from fewlabels.data.image_store.parallel import decode_all
from fewlabels.data.image_store.progress import Advance
from fewlabels.data.image_store.store import Source, Store, Write, Written

EXTENSIONS = frozenset({
    ".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".pgm", ".ppm", ".pbm", ".pnm", ".jp2", ".j2k",
    ".avif",
})  # fmt: skip
ONE_PAGE = (b"\xff\xd8", b"BM")
"""First bytes of JPEG and BMP, which have one page: no need to open them."""
ARRAY = ".npy"
"""Images if data.channels is neither 1 nor 3, or if there are no others; elsewhere they may be masks or embeddings."""
NO_IMAGES = frozenset({
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".html", ".pdf", ".log", ".ini", ".db",
    ".py", ".parquet",
})  # fmt: skip
"""Extensions of files that nobody expects to be read as images."""
SKIPPED = ("@eaDir", "$RECYCLE.BIN", "#recycle", "lost+found", "System Volume Information", "__MACOSX", "wandb")
"""Folders that systems, network drives and programs make."""
RUN_FILES = {"config.yaml", "run.log"}
"""In every run directory, whose figures are no images of the data."""


def folder_source(root: str | Path, name: str, decoding: Decoding, *, size: int, channels: int) -> Source:
    """Describe the images under `root` without decoding any.

    Args:
        root: The folder; the first component of a path below it is the image's class.
        name: Name of the dataset, for messages and the store's file name.
        decoding: How files become pixels.
        size: Side of the square, pixels.
        channels: 1, 3, or another number, see `decode`.

    Raises:
        UserError: `root` is missing, not a folder, unreadable, or contains no images.
    """
    listing = scan_folder(root, arrays=channels not in (1, 3))
    paths, absolute = [path for path, _, _ in listing.files], str(Path(root).absolute())
    stamp = hashlib.sha256(f"{VERSION} {decoding}".encode())
    for path, length, modified in listing.files:
        stamp.update(os.fsencode(f"{path}\0{length}\0{modified}\0"))

    def read() -> tuple[list[str], Write]:
        every = decoding.pages == "all"
        images = _pages(root, paths) if every else paths
        states = {path: (length, modified) for path, length, modified in listing.files}
        versions = np.array([states[page_of(path)[0] if every else path] for path in images], np.int64)

        def write(target: Target, advance: Advance, earlier: Store | None = None) -> Written:
            return decode_all(absolute, images, versions, decoding, target, advance, earlier)

        return images, write

    return Source(
        name, (channels, size, size), stamp.hexdigest(), read, where=str(root), notices=listing.notices(),
        recipe=f"{VERSION} {decoding}", root=absolute,
    )  # fmt: skip


def inner_folder(root: Path, layouts: Sequence[str]) -> Path:
    """The folder in `root` that a dataset's archive has, such as "flowers"; `root` if other folders are beside it."""
    for layout in layouts:
        if (root / layout).is_dir():
            beside = [entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
            if [name for name in beside if name not in SKIPPED] == [layout.partition("/")[0]]:
                return root / layout
    return root


def _pages(root: str | Path, paths: list[str]) -> list[str]:
    """The paths with "#1", "#2", … for the pages of files that have several."""
    found = []
    with quietly():
        for path in paths:
            try:
                count = _count_pages(f"{root}/{path}")
            except Exception:  # a damaged file; the decoder will say why
                count = 1
            found += [path] if count == 1 else [f"{path}#{page}" for page in range(1, count + 1)]
    return found


def _count_pages(file: str) -> int:
    """How many pages a file has, whatever its extension."""
    from PIL import Image

    with open_regular(file) as handle:
        if handle.read(2) in ONE_PAGE:
            return 1
        handle.seek(0)
        with Image.open(handle, formats=FORMATS) as image:
            count = int(getattr(image, "n_frames", 1)) if image.format in PAGED else 1
            if image.format == "PNG" and count > 1:  # its header says a number, which nothing bears out
                handle.seek(0)
                count = min(count, 1 + handle.read().count(b"fcTL"))
    return count


def file_sizes(root: str | Path, paths: Sequence[str]) -> np.ndarray:
    """Width and height in pixels of image files below `root`, int64 [n, 2], read from their headers."""
    from PIL import Image

    sizes = []
    with quietly():
        for path in paths:
            with Image.open(Path(root) / path, formats=FORMATS) as image:
                sizes.append(image.size)
    return np.array(sizes, np.int64).reshape(-1, 2)


class Listing(NamedTuple):
    """The files below a folder.

    Attributes:
        files: (posix path, size in bytes, modification time in ns) of each image, sorted by path.
        others: {extension, or what else it is: number} of files that are not read.
        skipped: {name of a folder: how many of that name}, none of whose files is read.
        arrays: Likewise of each .npy file, while the folder is being listed.
    """

    files: list[tuple[str, int, int]]
    others: Counter[str]
    skipped: Counter[str]
    arrays: list[tuple[str, int, int]]

    def unread(self) -> dict[str, int]:
        """{extension, or what else it is: number} of files that may be images, the commonest first."""
        return {name: count for name, count in self.others.most_common() if count and name not in NO_IMAGES}

    def notices(self) -> tuple[str, ...]:
        """What is not read and may have been expected to be."""
        others = self.unread()
        counts = [f"{count} {printable(name)}" for name, count in others.items()]
        found = [f"Files that are not read: {', '.join(counts[:8])}"] if others else []
        if self.skipped.total():
            names = [f"{count} {name}" for name, count in self.skipped.most_common() if count]
            found.append(f"Skipped folders of programs and systems: {', '.join(names[:8])}")
        return tuple(found)


def scan_folder(root: str | Path, *, arrays: bool = False) -> Listing:
    """List the images under `root` at any depth; links are followed, hidden names ignored.

    Args:
        root: The folder.
        arrays: Whether .npy files are images even if there are others.

    Raises:
        UserError: `root` is missing, not a folder, unreadable, or contains no images.
    """
    root = Path(root)
    if not root.exists():
        raise UserError(f"data.root={root} does not exist. Give the folder that contains the images.")
    if not root.is_dir():
        raise UserError(f"data.root={root} is a file. Give a folder of images; unpack an archive first.")
    listing = Listing([], Counter(), Counter(), [])
    try:
        _walk(str(root), listing)
    except PermissionError as error:
        raise UserError(
            f"data.root={root}: no permission to read {error.filename}. Give yourself read access (chmod -R u+rX)."
        ) from error
    if arrays or not listing.files:
        listing.files.extend(listing.arrays)
    elif listing.arrays:
        listing.others[ARRAY] += len(listing.arrays)
    listing.files.sort()
    if not listing.files:
        counts = ", ".join(f"{count} {extension}" for extension, count in listing.others.most_common(5))
        raise UserError(
            f"data.root={root} contains no images (found: {counts or 'nothing'}). Accepted are "
            f"{' '.join(sorted({*EXTENSIONS, ARRAY}))}, with or without class folders."
        )
    return listing


def _walk(root: str, listing: Listing) -> None:
    """List a folder and those below it; what vanishes meanwhile is left out."""
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(root, "", frozenset())]
    while waiting:
        folder, prefix, ancestors = waiting.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116 (a Path per file would double the time of the listing)
            identity = (status.st_dev, status.st_ino)
            if identity in ancestors:
                continue  # a link to a folder above
            with os.scandir(folder) as opened:
                entries = [entry for entry in opened if not entry.name.startswith(".")]
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENAMETOOLONG):
                raise
            listing.others["folders whose path is too long"] += error.errno == errno.ENAMETOOLONG
            continue
        if prefix and {entry.name for entry in entries} >= RUN_FILES:
            listing.skipped["run directories"] += 1
            continue
        for entry in entries:
            if (kind := _list_entry(entry, prefix, listing)) == "folder":
                waiting.append((entry.path, f"{prefix}{entry.name}/", ancestors | {identity}))
            elif kind:
                listing.others[kind] += 1


def _list_entry(entry: "os.DirEntry[str]", prefix: str, listing: Listing) -> str:
    """List a file if it is an image; "folder" of a folder to list, and of anything else what it is."""
    try:
        if entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110 (broken, or a loop)
            return "broken links"
        if entry.is_dir():
            listing.skipped[entry.name] += entry.name in SKIPPED
            return "" if entry.name in SKIPPED else "folder"
        extension = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
        status = entry.stat()
        if not stat.S_ISREG(status.st_mode):
            return "pipes, sockets or devices"
        if extension not in EXTENSIONS and extension != ARRAY:
            return extension or "without extension"
        found = listing.arrays if extension == ARRAY else listing.files
        found.append((prefix + entry.name, status.st_size, status.st_mtime_ns))
    except FileNotFoundError:
        pass  # it has vanished
    return ""
