"""List a folder of images, and decode it in parallel processes."""

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fewlabels.core.errors import UserError
from fewlabels.data.image_store.decode import VERSION, Target, decode_chunk
from fewlabels.data.image_store.progress import Advance
from fewlabels.data.image_store.store import Source, Written

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".gif", ".webp"})
_CHUNK = 64  # images per call of a worker
_MIN_CHUNKS = 4  # chunks per worker: a worker starts in the time that 256 images take to decode


def folder_source(root: str | Path, name: str, *, resize: str, size: int, channels: int) -> Source:
    """Describe the images under `root` without decoding any.

    Args:
        root: The folder; the first component of a path below it is the image's class.
        name: Name of the dataset, for messages and the store's file name.
        resize: "pad", "crop" or "squash"; see `decode.decode`.
        size: Side of the square, pixels.
        channels: 1 or 3.

    Raises:
        UserError: `root` is missing, not a folder, unreadable, or contains no images.
    """
    files = scan_folder(root)
    paths = [path for path, _, _ in files]
    stamp = hashlib.sha256(f"{VERSION} {resize}".encode())
    for path, length, modified in files:
        stamp.update(os.fsencode(f"{path}\0{length}\0{modified}\0"))

    def write(target: Target, advance: Advance) -> Written:
        return _decode_all(str(Path(root).absolute()), paths, resize, target, advance)

    return Source(name, (channels, size, size), stamp.hexdigest(), lambda: (paths, write), where=str(root))


def file_sizes(root: str | Path, paths: Sequence[str]) -> np.ndarray:
    """Width and height in pixels of image files below `root`, int64 [n, 2], read from their headers."""
    from PIL import Image

    sizes = []
    for path in paths:
        with Image.open(Path(root) / path) as image:
            sizes.append(image.size)
    return np.array(sizes, np.int64).reshape(-1, 2)


def scan_folder(root: str | Path) -> list[tuple[str, int, int]]:
    """List the images under `root` at any depth; links are followed, hidden names ignored.

    Returns:
        (posix path relative to `root`, size in bytes, modification time in ns), sorted by path.

    Raises:
        UserError: `root` is missing, not a folder, unreadable, or contains no images.
    """
    root = Path(root)
    if not root.exists():
        raise UserError(f"data.root={root} does not exist. Give the folder that contains the images.")
    if not root.is_dir():
        raise UserError(f"data.root={root} is a file. Give a folder of images; unpack an archive first.")
    others: dict[str, int] = {}
    try:
        files = sorted(_walk(str(root), "", set(), others))
    except PermissionError as error:
        raise UserError(
            f"data.root={root}: no permission to read {error.filename}. Give yourself read access (chmod -R u+rX)."
        ) from error
    if not files:
        extensions = sorted(others, key=lambda extension: -others[extension])[:5]
        counts = ", ".join(f"{others[extension]} {extension or 'without extension'}" for extension in extensions)
        raise UserError(
            f"data.root={root} contains no images (found: {counts or 'nothing'}). Accepted are "
            f"{' '.join(sorted(EXTENSIONS))}, with or without class folders."
        )
    return files


def _walk(
    folder: str, prefix: str, ancestors: set[tuple[int, int]], others: dict[str, int]
) -> Iterator[tuple[str, int, int]]:
    """Yield the images of one folder; count all other files in `others`, by extension."""
    stat = os.stat(folder)  # noqa: PTH116 (a Path per file would double the time of the listing)
    identity = (stat.st_dev, stat.st_ino)
    if identity in ancestors:
        return  # a link to a folder above
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110 (broken, or a loop)
                others["broken links"] = others.get("broken links", 0) + 1
            elif entry.is_dir():
                yield from _walk(entry.path, f"{prefix}{entry.name}/", ancestors | {identity}, others)
            elif entry.is_file():
                extension = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
                if extension in EXTENSIONS:
                    status = entry.stat()
                    yield prefix + entry.name, status.st_size, status.st_mtime_ns
                else:
                    others[extension] = others.get(extension, 0) + 1


def processors() -> int:
    """How many CPU cores this process may use; a batch system or a container often grants fewer than there are.

    The least of SLURM's cores per task and of what joblib finds: CPU affinity, and the quota of the control group.
    """
    import joblib

    slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return max(1, min(joblib.cpu_count(), int(slurm) if slurm.isdigit() else sys.maxsize))


def _decode_all(root: str, paths: list[str], resize: str, target: Target, advance: Advance) -> Written:
    """Decode `paths` into the rows of `target`, in parallel unless they are few.

    Returns:
        Digests of the files, and {row: reason} of the unreadable ones.

    Raises:
        OSError: `target` cannot be written, such as on a full disk.
        UserError: A worker was killed.
    """
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    starts = range(0, len(paths), _CHUNK)
    calls = (delayed(decode_chunk)(root, paths[start : start + _CHUNK], resize, target, start) for start in starts)
    workers = max(1, min(processors(), len(starts) // _MIN_CHUNKS))  # 1: joblib decodes in this process
    digests, reasons = np.zeros(len(paths), np.int64), dict[int, str]()
    try:
        with parallel_config("loky", n_jobs=workers, inner_max_num_threads=1):
            for start, part, unreadable in Parallel(return_as="generator_unordered")(calls):
                digests[start : start + len(part)] = part
                reasons |= unreadable
                advance(len(part))
    except TerminatedWorkerError as error:
        raise UserError(
            f"data.root={root}: a process that decodes images was killed, probably because memory ran out. Free "
            "memory, or remove the image that is too large."
        ) from error
    return digests, reasons
