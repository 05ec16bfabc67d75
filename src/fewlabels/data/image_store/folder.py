"""List a folder of images, and decode it in parallel processes."""

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fewlabels.core.errors import UserError
from fewlabels.data.image_store.decode import FORMATS, VERSION, Decoded, Decoding, Target, decode_chunk
from fewlabels.data.image_store.facts import FACTS, facts_notices, white_point
from fewlabels.data.image_store.progress import Advance
from fewlabels.data.image_store.store import Source, Write, Written

EXTENSIONS = frozenset({
    ".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".pgm", ".ppm", ".pbm", ".pnm", ".jp2", ".j2k",
    ".avif",
})  # fmt: skip
PAGED = (".tif", ".tiff", ".gif", ".webp", ".png", ".avif")
"""Extensions of files that may have several pages or frames."""
NO_IMAGES = frozenset({
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".html", ".pdf", ".log", ".ini", ".db",
    ".py", ".parquet",
})  # fmt: skip
"""Extensions of files that nobody expects to be read as images."""
SKIPPED = ("@eaDir", "$RECYCLE.BIN", "#recycle", "lost+found", "System Volume Information", "__MACOSX", "wandb")
"""Folders that systems, network drives and programs make."""
RUN_FILES = {"config.yaml", "run.log"}
"""In every run directory, whose figures are no images of the data."""
DEFAULT_WHITE = 65535
"""Of grey images of more than 8 bits, as long as their values are not known."""
_CHUNK = 64  # images per call of a worker
_MIN_CHUNKS = 4  # chunks per worker: a worker starts in the time that 256 images take to decode


def folder_source(root: str | Path, name: str, decoding: Decoding, *, size: int, channels: int) -> Source:
    """Describe the images under `root` without decoding any.

    Args:
        root: The folder; the first component of a path below it is the image's class.
        name: Name of the dataset, for messages and the store's file name.
        decoding: How files become pixels.
        size: Side of the square, pixels.
        channels: 1 or 3.

    Raises:
        UserError: `root` is missing, not a folder, unreadable, or contains no images.
    """
    listing = scan_folder(root)
    paths = [path for path, _, _ in listing.files]
    stamp = hashlib.sha256(f"{VERSION} {decoding}".encode())
    for path, length, modified in listing.files:
        stamp.update(os.fsencode(f"{path}\0{length}\0{modified}\0"))

    def read() -> tuple[list[str], Write]:
        images = _pages(root, paths) if decoding.pages == "all" else paths

        def write(target: Target, advance: Advance) -> Written:
            return decode_all(str(Path(root).absolute()), images, decoding, target, advance)

        return images, write

    return Source(name, (channels, size, size), stamp.hexdigest(), read, where=str(root), notices=listing.notices())


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
    from PIL import Image

    found = []
    for path in paths:
        count = 1
        if path.lower().endswith(PAGED):
            try:
                with Image.open(Path(root) / path, formats=FORMATS) as image:
                    count = getattr(image, "n_frames", 1)
            except Exception:  # a damaged file; the decoder will say why
                count = 1
        found += [path] if count == 1 else [f"{path}#{page}" for page in range(1, count + 1)]
    return found


def file_sizes(root: str | Path, paths: Sequence[str]) -> np.ndarray:
    """Width and height in pixels of image files below `root`, int64 [n, 2], read from their headers."""
    from PIL import Image

    sizes = []
    for path in paths:
        with Image.open(Path(root) / path) as image:
            sizes.append(image.size)
    return np.array(sizes, np.int64).reshape(-1, 2)


class Listing(NamedTuple):
    """The files below a folder.

    Attributes:
        files: (posix path, size in bytes, modification time in ns) of each image, sorted by path.
        others: {extension, or what else it is: number} of files that are not read.
        skipped: {name of a folder: how many of that name}, none of whose files is read.
    """

    files: list[tuple[str, int, int]]
    others: Counter[str]
    skipped: Counter[str]

    def notices(self) -> tuple[str, ...]:
        """What is not read and may have been expected to be."""
        others = {name: count for name, count in self.others.most_common() if name not in NO_IMAGES}
        counts = [f"{count} {name}" for name, count in others.items()]
        found = [f"{sum(others.values())} files are not read: {', '.join(counts[:8])}"] if others else []
        if self.skipped:
            names = [f"{count} {name}" for name, count in self.skipped.most_common()]
            found.append(f"{self.skipped.total()} folders of programs and systems are skipped: {', '.join(names[:8])}")
        return tuple(found)


def scan_folder(root: str | Path) -> Listing:
    """List the images under `root` at any depth; links are followed, hidden names ignored.

    Raises:
        UserError: `root` is missing, not a folder, unreadable, or contains no images.
    """
    root = Path(root)
    if not root.exists():
        raise UserError(f"data.root={root} does not exist. Give the folder that contains the images.")
    if not root.is_dir():
        raise UserError(f"data.root={root} is a file. Give a folder of images; unpack an archive first.")
    listing = Listing([], Counter(), Counter())
    try:
        _walk(str(root), "", set(), listing)
    except PermissionError as error:
        raise UserError(
            f"data.root={root}: no permission to read {error.filename}. Give yourself read access (chmod -R u+rX)."
        ) from error
    listing.files.sort()
    if not listing.files:
        counts = ", ".join(f"{count} {extension}" for extension, count in listing.others.most_common(5))
        raise UserError(
            f"data.root={root} contains no images (found: {counts or 'nothing'}). Accepted are "
            f"{' '.join(sorted(EXTENSIONS))}, with or without class folders."
        )
    return listing


def _walk(folder: str, prefix: str, ancestors: set[tuple[int, int]], listing: Listing) -> None:
    """List one folder; iterates over sorted names only at the end, which takes less time."""
    stat = os.stat(folder)  # noqa: PTH116 (a Path per file would double the time of the listing)
    identity = (stat.st_dev, stat.st_ino)
    if identity in ancestors:
        return  # a link to a folder above
    with os.scandir(folder) as opened:
        entries = [entry for entry in opened if not entry.name.startswith(".")]
    if prefix and {entry.name for entry in entries} >= RUN_FILES:
        listing.skipped["run directories"] += 1
        return
    for entry in entries:
        if entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110 (broken, or a loop)
            listing.others["broken links"] += 1
        elif entry.is_dir():
            if entry.name in SKIPPED:
                listing.skipped[entry.name] += 1
            else:
                _walk(entry.path, f"{prefix}{entry.name}/", ancestors | {identity}, listing)
        elif entry.is_file():
            extension = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
            if extension in EXTENSIONS:
                status = entry.stat()
                listing.files.append((prefix + entry.name, status.st_size, status.st_mtime_ns))
            else:
                listing.others[extension or "without extension"] += 1


def processors() -> int:
    """How many CPU cores this process may use; a batch system or a container often grants fewer than there are.

    The least of SLURM's cores per task and of what joblib finds: CPU affinity, and the quota of the control group.
    """
    import joblib

    slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return max(1, min(joblib.cpu_count(), int(slurm) if slurm.isdigit() else sys.maxsize))


def decode_all(root: str, paths: list[str], decoding: Decoding, target: Target, advance: Advance) -> Written:
    """Decode `paths` into the rows of `target`, in parallel unless they are few.

    If grey images of more than 8 bits turn out to have another white than 65535, these are decoded twice.

    Raises:
        OSError: `target` cannot be written, such as on a full disk.
        UserError: A worker was killed.
    """
    decoded = Decoded(np.zeros(len(paths), np.int64), {}, np.zeros(len(paths), FACTS))
    for rows, part in _decode_rows(root, paths, range(len(paths)), decoding, target):
        decoded.digests[rows], decoded.facts[rows] = part.digests, part.facts
        decoded.reasons.update({rows[place]: reason for place, reason in part.reasons.items()})
        advance(len(rows))
    white = white_point(decoded.facts)
    deep = np.flatnonzero((decoded.facts["bits"] > 8) & ~decoded.facts["real"]).tolist()
    if decoding.white is None and deep and white != DEFAULT_WHITE:
        for _ in _decode_rows(root, paths, deep, replace(decoding, white=white), target):
            pass
    notices = facts_notices(decoded.facts, paths, decoding.white, decoding.pages)
    return Written(*decoded, tuple(notices), (decoding.white or white) if deep else None)


def _decode_rows(
    root: str, paths: list[str], rows: Sequence[int], decoding: Decoding, target: Target
) -> Iterator[tuple[Sequence[int], Decoded]]:
    """Decode some of `paths` into their rows of `target`, and yield them chunk by chunk."""
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    calls = (delayed(decode_chunk)(root, [paths[row] for row in chunk], decoding, target, chunk) for chunk in chunks)
    workers = max(1, min(processors(), len(chunks) // _MIN_CHUNKS))  # 1: joblib decodes in this process
    try:
        with parallel_config("loky", n_jobs=workers, inner_max_num_threads=1):
            yield from Parallel(return_as="generator_unordered")(calls)
    except TerminatedWorkerError as error:
        raise UserError(
            f"data.root={root}: a process that decodes images was killed, probably because memory ran out. Free "
            "memory, or remove the image that is too large."
        ) from error
