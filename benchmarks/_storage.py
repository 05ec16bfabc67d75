"""Image store; each function runs in its own process: python benchmarks/_storage.py NAME JSON.

JSON are its arguments. The last line on standard output is what it returns, as JSON. Imports torch only where needed.
"""

import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from fewlabels.data.image_store.decode import Decoding, Target, decode_rows
from fewlabels.data.image_store.folder import folder_source, scan_folder
from fewlabels.data.image_store.parallel import processors
from fewlabels.data.image_store.progress import Advance
from fewlabels.data.image_store.store import Source, open_store

SHAPE = (3, 64, 64)
CHUNK = 64  # images per task of a process


def build(images: str, cache: str) -> float:
    """Images per second of listing a folder, decoding, resizing, hashing and writing its store, and opening it."""
    start = time.perf_counter()
    source = folder_source(images, "bench", Decoding("crop"), size=SHAPE[1], channels=SHAPE[0])
    store = open_store(source, cache)
    return len(store.paths) / (time.perf_counter() - start)


def decode(images: str) -> float:
    """Images per second of only decoding and resizing, in as many processes, not counting their start."""
    paths = [path for path, _, _ in scan_folder(images).files]
    chunks = [(images, paths[start : start + CHUNK]) for start in range(0, len(paths), CHUNK)]
    with multiprocessing.get_context("fork").Pool(processors()) as pool:
        pool.map(_decode_chunk, chunks[: 2 * processors()], chunksize=1)  # to warm up
        start = time.perf_counter()
        unreadable = sum(pool.imap_unordered(_decode_chunk, chunks))
        return (len(paths) - unreadable) / (time.perf_counter() - start)


def _decode_chunk(chunk: tuple[str, list[str]]) -> int:
    root, paths = chunk
    return len(decode_rows(root, paths, np.zeros((len(paths), *SHAPE), np.uint8), Decoding("crop")).reasons)


def memory(count: int, cache: str, batch: int) -> float:
    """Private memory (USS, megabytes) of each of two processes after an epoch of batches from one store.

    There are two because pages of a file that a single process has mapped count as private.
    """
    open_store(_noise(count), cache)
    command = [sys.executable, __file__, "read", json.dumps({"count": count, "cache": cache, "batch": batch})]
    pipe = subprocess.PIPE
    readers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    try:
        for reader in readers:
            if reader.stdout is None or not (line := reader.stdout.readline()).startswith("images read: "):
                raise RuntimeError(f"A reading process failed with exit code {reader.wait()}.")
            assert int(line.split()[-1]) == count // batch * batch, line
        return max(psutil.Process(reader.pid).memory_full_info().uss for reader in readers) / 2**20
    finally:
        for reader in readers:
            reader.communicate("")  # closes its standard input, so it exits


def read(count: int, cache: str, batch: int) -> str:
    """Read an epoch of shuffled batches as in training, print their number, and wait until standard input closes."""
    from fewlabels.data.batches import EpochBatches, StoreDataset, make_loader

    store = open_store(_noise(count), cache)
    dataset = StoreDataset(store.images, np.zeros(count, np.int64))
    loader = make_loader(dataset, EpochBatches(np.arange(count), batch, seed=0))
    print("images read:", sum(len(b.x) for b in loader), flush=True)
    return sys.stdin.read()


def _noise(count: int) -> Source:
    """A source of `count` random images."""

    def write(target: Target, advance: Advance) -> dict[int, str]:
        rng = np.random.default_rng(0)
        for start in range(0, count, 500):
            size = min(500, count - start)
            target.put(start, rng.integers(0, 256, (size, *SHAPE), dtype=np.uint8))
            advance(size)
        return {}

    paths = [f"noise/{number}" for number in range(count)]
    return Source("noise", SHAPE, f"noise {count}", lambda: (paths, write), where="random numbers")


def link(images: str, folder: str, seconds: float, least: int) -> int:
    """Fill `folder` with links to the images, so many that decoding them takes about `seconds`, but at least `least`.

    Returns:
        The number of links.
    """
    paths = [path for path, _, _ in scan_folder(images).files]
    sample = paths[:: max(1, len(paths) // 256)]
    start = time.perf_counter()
    _decode_chunk((images, sample))
    speed = len(sample) / (time.perf_counter() - start) * processors()
    count = max(least, round(speed * seconds))
    for number in range(count):
        path = paths[number % len(paths)]
        name = Path(folder) / f"{number // len(paths):05d}" / path
        name.parent.mkdir(parents=True, exist_ok=True)
        name.symlink_to(Path(images).absolute() / path)
    return count


def draw(folder: str, per_class: int) -> int:
    """Write synthetic flowers into class folders, `per_class` each; returns their number."""
    from PIL import Image

    from fewlabels.data.synthetic.synthetic_flowers import FLOWERS, flower

    for label, name in enumerate(FLOWERS):
        directory = Path(folder) / name
        directory.mkdir(parents=True)
        for number in range(per_class):
            picture = Image.fromarray(flower(name, np.random.default_rng((label, number))))
            picture.save(directory / f"{number:04d}.jpg", quality=90)
    return per_class * len(FLOWERS)


if __name__ == "__main__":
    jobs: dict[str, Any] = {
        "build": build, "decode": decode, "memory": memory, "read": read, "link": link, "draw": draw
    }  # fmt: skip
    print(json.dumps(jobs[sys.argv[1]](**json.loads(sys.argv[2]))))
