"""A folder of images on disk: list it, and decode it in parallel processes."""

import contextlib
import hashlib
import json
import os
import queue
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fewlabels.data import decode
from fewlabels.data.decode import Target
from fewlabels.data.progress import Advance
from fewlabels.data.store import Source
from fewlabels.errors import UserError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".gif", ".webp"})
Chunks: TypeAlias = "queue.SimpleQueue[tuple[int, list[str]]]"  # (first row, relative paths)
_CHUNK = 64  # images a worker is given at a time: long enough to hide the asking, short enough to share evenly


def folder_source(root: str | Path, name: str, *, resize: str, size: int, channels: int) -> Source:
    """Describe the images under `root` without decoding any.

    Args:
        root: The folder; the first component of a path below it is the image's class.
        name: What to call the set in messages and in the store's file name.
        resize: "pad", "crop" or "squash"; see `decode.decode`.
        size: Side of the square, pixels.
        channels: 1 or 3.

    Raises:
        UserError: `root` is missing, not a folder, unreadable, or holds no images.
    """
    files = scan_folder(root)
    paths = [path for path, _, _ in files]
    stamp = hashlib.sha256(f"{decode.VERSION} {resize}".encode())
    for path, length, changed in files:
        stamp.update(os.fsencode(f"{path}\0{length}\0{changed}\0"))

    def write(target: Target, advance: Advance) -> dict[int, str]:
        return _decode_all(str(Path(root).absolute()), paths, resize, target, advance)

    return Source(name, (channels, size, size), stamp.hexdigest(), lambda: (paths, write), where=str(root))


def file_sizes(root: str | Path, paths: Sequence[str]) -> np.ndarray:
    """Width and height in pixels of image files below `root`, int64 [n, 2], from their headers alone."""
    from PIL import Image

    sizes = []
    for path in paths:
        with Image.open(Path(root) / path) as image:
            sizes.append(image.size)
    return np.array(sizes, np.int64).reshape(-1, 2)


def scan_folder(root: str | Path) -> list[tuple[str, int, int]]:
    """List the images under `root`, however deep, links followed, hidden names left out.

    Returns:
        (posix path relative to `root`, bytes, time of last change in ns), sorted by path.

    Raises:
        UserError: `root` is missing, not a folder, unreadable, or holds no images.
    """
    root = Path(root)
    if not root.exists():
        raise UserError(f"data.root={root} does not exist. Give the folder that holds the images.")
    if not root.is_dir():
        raise UserError(f"data.root={root} is a file. Give a folder of images, or the folder an archive unpacks to.")
    others: dict[str, int] = {}
    try:
        files = sorted(_walk(str(root), "", set(), others))
    except PermissionError as error:
        raise UserError(
            f"data.root={root}: no permission to read {error.filename}. Give yourself read access (chmod -R u+rX)."
        ) from error
    if not files:
        kinds = sorted(others, key=lambda kind: -others[kind])[:5]
        found = ", ".join(f"{others[kind]} {kind or 'without extension'}" for kind in kinds) or "nothing"
        raise UserError(
            f"data.root={root} holds no images (found: {found}). Accepted are {' '.join(sorted(EXTENSIONS))}, in "
            "class folders or without."
        )
    return files


def _walk(
    folder: str, prefix: str, above: set[tuple[int, int]], others: dict[str, int]
) -> Iterator[tuple[str, int, int]]:
    """Yield the images of one folder; count in `others` the files that are none, by extension."""
    stat = os.stat(folder)  # noqa: PTH116 (a Path per file would double the time of the listing)
    here = (stat.st_dev, stat.st_ino)
    if here in above:
        return  # a link that leads back up
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110 (broken, or a loop)
                others["broken links"] = others.get("broken links", 0) + 1
            elif entry.is_dir():
                yield from _walk(entry.path, f"{prefix}{entry.name}/", above | {here}, others)
            elif entry.is_file():
                kind = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
                if kind in EXTENSIONS:
                    status = entry.stat()
                    yield prefix + entry.name, status.st_size, status.st_mtime_ns
                else:
                    others[kind] = others.get(kind, 0) + 1


def processors() -> int:
    """How many processors this process may use (a batch system often grants fewer than the machine has)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _decode_all(root: str, paths: list[str], resize: str, target: Target, advance: Advance) -> dict[int, str]:
    """Decode `paths` into the rows of `target` on every processor; return {row: reason} of the unreadable ones."""
    chunks: Chunks = queue.SimpleQueue()
    for start in range(0, len(paths), _CHUNK):
        chunks.put((start, paths[start : start + _CHUNK]))
    helpers = min(processors(), chunks.qsize() // 4) - 1  # one starts in the time that 256 images take to decode
    job = {"root": root, "resize": resize, **asdict(target)}
    with ThreadPoolExecutor(max(1, helpers)) as pool:
        parts = [pool.submit(_drive, job, chunks, advance) for _ in range(helpers)]
        reasons = _decode_here(root, chunks, resize, target, advance)  # this process does its share
        return reasons | {row: reason for part in parts for row, reason in part.result().items()}


def _take(chunks: Chunks) -> Iterator[tuple[int, list[str]]]:
    """Yield from a queue that others empty too, until it is empty."""
    while True:
        try:
            yield chunks.get_nowait()
        except queue.Empty:
            return


@contextlib.contextmanager
def _all_or_none(chunks: Chunks) -> Iterator[None]:
    """Empty the queue when one process fails, so that the others end now and not after the last image."""
    try:
        yield
    except BaseException:
        list(_take(chunks))
        raise


def _decode_here(root: str, chunks: Chunks, resize: str, target: Target, advance: Advance) -> dict[int, str]:
    """Decode in this process until the queue is empty."""
    reasons: dict[int, str] = {}
    with _all_or_none(chunks):
        for start, paths in _take(chunks):
            out = np.zeros((len(paths), *target.shape), np.uint8)
            found = decode.decode_rows(root, paths, out, resize)
            reasons |= {start + row: reason for row, reason in found.items()}
            target.put(start, out)
            advance(len(paths))
    return reasons


def _drive(job: dict[str, object], chunks: Chunks, advance: Advance) -> dict[int, str]:
    """Keep one helping process busy until the queue is empty.

    A plain child process and not `multiprocessing`, whose workers would first import the caller's main script, and
    torch with it.
    """
    reasons: dict[int, str] = {}
    asked: deque[list[str]] = deque()
    with _all_or_none(chunks), _worker() as worker:
        _ask(worker, job)
        for start, paths in _take(chunks):
            _ask(worker, {"start": start, "paths": paths})
            asked.append(paths)
            if len(asked) > 1:  # one question ahead, so that the worker never waits for this thread
                reasons |= _answer(worker, asked[0])
                advance(len(asked.popleft()))
        for paths in asked:
            reasons |= _answer(worker, paths)
            advance(len(paths))
    return reasons


@contextlib.contextmanager
def _worker() -> Iterator[Any]:
    package_parent = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (package_parent, os.environ.get("PYTHONPATH"))))
    worker = subprocess.Popen(
        [sys.executable, "-P", "-m", "fewlabels.data.decode"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,  # Ctrl-C is ours to answer; a worker ends when its input closes
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        yield worker
    finally:
        with contextlib.suppress(BrokenPipeError):
            worker.stdin.close()
        worker.wait()
        worker.stdout.close()


def _ask(worker: Any, message: dict[str, object]) -> None:
    """Send one line; if the worker is dead, its missing answer will tell."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(message), file=worker.stdin, flush=True)


def _answer(worker: Any, paths: list[str]) -> dict[int, str]:
    """Wait for {row: reason} of the unreadable images among `paths`."""
    if not (line := worker.stdout.readline()):
        raise UserError(
            f"A decoding process ended (code {worker.wait()}) between {paths[0]} and {paths[-1]}; code -9 means that "
            "memory ran out. Take an image that is too large away, or free some memory."
        )
    answer = json.loads(line)
    if "errno" in answer:
        raise OSError(answer["errno"], os.strerror(answer["errno"]))
    return {int(row): reason for row, reason in answer.items()}
