"""Time and memory of listing, decoding and examining many files.

    python benchmarks/many_files.py FOLDER [--files 300000] [--side 64]

Writes SYNTHETIC JPEG files into FOLDER/images, in 100 class folders, if they are not there: smooth random patches, each
thousandth a copy of another. Then lists them, builds their store, and examines them, each in a process of its own.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fewlabels.data.doctor.findings import examine
from fewlabels.data.image_store.folder import scan_folder
from fewlabels.data.images import Images

CLASSES = 100
COPY_EVERY = 1000


def main() -> None:
    """Print a line per step: seconds, and the most memory that its process had."""
    arguments = parse()
    root = Path(arguments.folder) / "images"
    if not root.exists():
        make(root, arguments.files, arguments.side)
    for name, step in (("list", list_files), ("store", build), ("open, split", build), ("doctor", look)):
        context = multiprocessing.get_context("spawn")
        queue: multiprocessing.Queue[tuple[float, float, str]] = context.Queue()
        process = context.Process(target=measure, args=(step, str(root), arguments.folder, queue))
        process.start()
        seconds, gigabytes, text = queue.get()
        process.join()
        print(f"{name:12} {seconds:7.1f} s  {gigabytes:5.2f} GB  {text}", flush=True)


def measure(
    step: Callable[[str, str], str], root: str, folder: str, queue: "multiprocessing.Queue[tuple[float, float, str]]"
) -> None:
    """Run a step, and put its seconds, gigabytes and result into the queue."""
    start = time.monotonic()
    text = step(root, folder)
    queue.put((time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, text))


def list_files(root: str, _: str) -> str:
    """List all files."""
    return f"{len(scan_folder(root).files):,} files"


def build(root: str, folder: str) -> str:
    """Build or open the store, and split it."""
    return f"{len(opened(root, folder).indices('train')):,} training images"


def look(root: str, folder: str) -> str:
    """Examine the images of a store that is there."""
    data = opened(root, folder)
    start = time.monotonic()
    found = "; ".join(f"{finding.number:,} {finding.name}" for finding in examine(data))
    return f"(examined in {time.monotonic() - start:.1f} s) {found}"


def opened(root: str, folder: str) -> Images:
    """The data module, set up."""
    data = Images(
        root=root, source="auto", size=64, channels=1, batch_size=64, seed=0, val_fraction=0.1, test_fraction=0.1,
        mean=[0.5], std=[0.25], cache_dir=f"{folder}/cache",
    )  # fmt: skip
    data.setup()
    return data


def make(root: Path, files: int, side: int) -> None:
    """Write synthetic files."""
    draw = np.random.default_rng(0)
    for number in range(CLASSES):
        (root / f"class{number:03}").mkdir(parents=True)
    for number in range(files):
        file = root / f"class{number % CLASSES:03}" / f"{number:06}.jpg"
        if number % COPY_EVERY == COPY_EVERY - 1:
            file.write_bytes((root / f"class{(number - 1) % CLASSES:03}" / f"{number - 1:06}.jpg").read_bytes())
        else:
            coarse = Image.fromarray(draw.integers(0, 256, (6, 6), dtype=np.uint8))
            coarse.resize((side, side), Image.Resampling.BICUBIC).save(file, quality=80)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="where files and their store are written")
    parser.add_argument("--files", type=int, default=300_000, help="default: 300000")
    parser.add_argument("--side", type=int, default=64, help="of a file in pixels (default: 64)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
