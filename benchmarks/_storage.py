"""What concerns the store; each function is run in a process of its own: python benchmarks/_storage.py NAME JSON.

The last line on standard output is what the function returned, as JSON. Torch is imported only where it is used.
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

from fewlabels.data.decode import Target, decode_rows
from fewlabels.data.folder import folder_source, processors, scan_folder
from fewlabels.data.progress import Advance
from fewlabels.data.store import Source, open_store

SHAPE = (3, 64, 64)
CHUNK = 64  # images a process takes at a time


def build(images: str, cache: str) -> float:
    """Images per second from the folder's name to its open store: listing, decoding, resizing, hashing, writing."""
    start = time.perf_counter()
    source = folder_source(images, "bench", resize="crop", size=SHAPE[1], channels=SHAPE[0])
    store = open_store(source, cache)
    return len(store.paths) / (time.perf_counter() - start)


def decode(images: str) -> float:
    """Images per second of decoding and resizing alone, in as many processes, which have already started."""
    paths = [path for path, _, _ in scan_folder(images)]
    chunks = [(images, paths[start : start + CHUNK]) for start in range(0, len(paths), CHUNK)]
    with multiprocessing.get_context("fork").Pool(processors()) as pool:
        pool.map(_decode_chunk, chunks[: 2 * processors()], chunksize=1)  # to warm up
        start = time.perf_counter()
        unreadable = sum(pool.imap_unordered(_decode_chunk, chunks))
        return (len(paths) - unreadable) / (time.perf_counter() - start)


def _decode_chunk(chunk: tuple[str, list[str]]) -> int:
    root, paths = chunk
    return len(decode_rows(root, paths, np.zeros((len(paths), *SHAPE), np.uint8), "crop"))


def memory(count: int, cache: str, batch: int) -> float:
    """Megabytes that each of two processes has to itself (USS) after an epoch of batches from one store.

    Two, because pages of a file that only one process has mapped would count as its own.
    """
    open_store(_noise(count), cache)
    command = [sys.executable, __file__, "read", json.dumps({"count": count, "cache": cache, "batch": batch})]
    pipe = subprocess.PIPE
    readers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    try:
        for reader in readers:
            if reader.stdout is None or not (line := reader.stdout.readline()).startswith("images read: "):
                raise RuntimeError(f"A reading process ended with code {reader.wait()}.")
            assert int(line.split()[-1]) == count // batch * batch, line
        return max(psutil.Process(reader.pid).memory_full_info().uss for reader in readers) / 2**20
    finally:
        for reader in readers:
            reader.communicate("")  # closes its standard input, at which it ends


def read(count: int, cache: str, batch: int) -> str:
    """Read an epoch of shuffled batches as training does, say so, and stay until standard input closes."""
    from fewlabels.data.batches import EpochBatches, Rows, make_loader

    store = open_store(_noise(count), cache)
    rows = Rows(store.images, np.zeros(count, np.int64))
    loader = make_loader(rows, EpochBatches(np.arange(count), batch, seed=0))
    print("images read:", sum(len(b.x) for b in loader), flush=True)
    return sys.stdin.read()


def _noise(count: int) -> Source:
    """A source of `count` images of random numbers."""

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
    """Fill `folder` with links to the images, over and over, until decoding them all takes about so many seconds."""
    paths = [path for path, _, _ in scan_folder(images)]
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
    """Draw the synthetic flowers, as many as there would be photographs, into class folders."""
    from PIL import Image

    from fewlabels.data.bouquet import FLOWERS, flower

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
