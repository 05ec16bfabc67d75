"""Read odd and damaged image files as a user's folder is read, and count what comes of them.

    python benchmarks/fuzz_reading.py --files 2000 --seed 0

Each file lies in a folder with 19 good images, so that the limit of 5% unreadable files is not passed; `folder_source`
and `open_store` read the folder. Whether two unreadable files of 20 stop the set is tried for every 20th file.
Exits with 1 after any crash, hang, silent change or output that escapes.

Outcomes:
    read            as it must be
    read, notice    likewise, and something is said of it
    refused         with a reason
    left out        not listed as an image, and counted
    other content   a damage that the format cannot tell from other pixels; a plain reading of the file gives the same
    silent change   read, but not as it must be
    crash, hang, printed
"""

import argparse
import contextlib
import io
import multiprocessing
import multiprocessing.connection
import os
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from _cases import Case, make_case
from _damage import THINGS, appended, truncated
from _odd_files import SIDE, grey
from fewlabels.core.errors import UserError
from fewlabels.data.image_store.decode import Decoding
from fewlabels.data.image_store.folder import folder_source
from fewlabels.data.image_store.store import Store, open_store

LIMIT = 20  # seconds for one file
GOOD = 19
FAILURES = ("silent change", "crash", "hang", "printed")


def outcome(case: Case, folder: Path) -> tuple[str, str]:
    """Read one case in an empty folder; what came of it, and details."""
    with warnings.catch_warnings(record=True) as warned, _standard_error() as printed:
        warnings.simplefilter("always")
        try:
            store, notices = _read(case, folder)
        except Exception:
            return "crash", traceback.format_exc()
        said = [str(warning.message) for warning in warned]
    if said or printed:
        return "printed", f"{said} {bytes(printed).decode(errors='replace')}"
    with warnings.catch_warnings(), _standard_error():
        warnings.simplefilter("ignore")
        return _judge(case, store, notices)


def _read(case: Case, folder: Path) -> tuple[Store, tuple[str, ...]]:
    images = folder / "images"
    images.mkdir()
    for number in range(GOOD):
        Image.new("L", (SIDE, SIDE), 10 * number).save(images / f"good{number:02d}.png")
    file = images / os.fsdecode(case.name)
    thing = next((thing for thing in THINGS if thing.__name__ == case.damage), None)
    if thing is None or case.late:
        file.write_bytes(case.content)
    else:
        thing(file)
    pages = "all" if case.late and case.damage in ("", appended.__name__) else "first"
    source = folder_source(images, "fuzz", Decoding("squash", pages=pages), size=SIDE, channels=case.channels)
    if thing and case.late:
        file.unlink()
        thing(file)
    return open_store(source, folder / "cache"), source.notices


def _judge(case: Case, store: Store, listed: tuple[str, ...]) -> tuple[str, str]:
    for place, path in enumerate(store.paths):
        if path.startswith("good") and (store.images[place] != 10 * int(path[4:6])).any():
            return "silent change", f"{path} changed beside {case.odd.kind}"
    name, first = os.fsdecode(case.name), f"{os.fsdecode(case.name)}#1"
    for notice in (*listed, *store.notices, *store.corrupt.values()):
        if any(not character.isprintable() for character in notice):
            return "crash", f"a notice that cannot be printed: {notice!r}"
    if len(store.paths) + len(store.corrupt) == GOOD:
        counted = bool(listed) or case.damage in ("nothing", "folder", "folder_loop")
        return ("left out", case.damage) if counted else ("silent change", f"{case.damage} is not counted")
    if reason := store.corrupt.get(name, store.corrupt.get(first)):
        expected = case.damage or case.odd.pixels is None
        return ("refused", reason) if expected else ("silent change", f"refused: {case.odd.kind}: {reason}")
    row = store.paths.index(first if first in store.paths else name)
    pixels = np.moveaxis(np.broadcast_to(store.images[row], (3, SIDE, SIDE)), 0, 2).astype(float)
    if case.odd.pixels is not None and _agree(case, pixels, case.odd.pixels):
        return ("read, notice" if store.notices else "read"), case.damage
    if not case.damage or (case.damage in (truncated.__name__, appended.__name__) and case.odd.pixels is not None):
        return "silent change", f"{case.odd.kind} {case.damage}: {_distance(case, pixels)}"
    return _other_content(case, pixels)


def _other_content(case: Case, pixels: np.ndarray) -> tuple[str, str]:
    """Compare with a plain reading of the damaged file, where its pixels say what they mean."""
    try:
        with Image.open(io.BytesIO(case.content)) as image:
            if case.channels == 1:
                image.draft("L", image.size)  # of JPEG the luminance as stored: colours may be clipped
            image.load()
            tags = getattr(image, "tag_v2", {})
            usual = tags.get(339, (1,))[0] == 1 and max(tags.get(258, (8,))) <= 8  # unsigned, 8 bits
            clear = "transparency" in image.info
            plain = usual and not clear and image.mode in ("L", "RGB") and image.size == (SIDE, SIDE)
            rotated = image.getexif().get(0x0112, 1) != 1
            if not plain or rotated or image.info.get("bits", 8) != 8:
                return "other content", case.damage
            reference = np.asarray(image.convert("RGB")).astype(float)
    except Exception as error:
        return "silent change", f"{case.odd.kind} {case.damage}: a plain reading fails with {error}"
    agrees = _agree(case._replace(odd=case.odd._replace(tolerance=1)), pixels, reference)
    return ("other content", case.damage) if agrees else ("silent change", f"{case.odd.kind} {case.damage}")


def _agree(case: Case, pixels: np.ndarray, expected: np.ndarray) -> bool:
    expected = grey(expected) if case.channels == 1 else expected
    difference = np.abs(pixels - expected)
    largest = max(2.0, 20 * case.odd.tolerance)
    return bool(difference.mean() <= case.odd.tolerance + 0.05 and difference.max() <= largest)


def _distance(case: Case, pixels: np.ndarray) -> str:
    if case.odd.pixels is None:
        return "must be refused"
    expected = grey(case.odd.pixels) if case.channels == 1 else case.odd.pixels
    return f"mean |difference| {np.abs(pixels - expected).mean():.2f}, largest {np.abs(pixels - expected).max():.0f}"


@contextlib.contextmanager
def _standard_error() -> Iterator[bytearray]:
    """Collect what is written to standard error, also by C libraries."""
    sys.stderr.flush()
    kept, printed = os.dup(2), bytearray()
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield printed
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            printed += file.read()


def stops(cases: list[Case], folder: Path) -> bool:
    """Whether two copies of an unreadable file among 20 stop the set with an example."""
    images = folder / "images"
    images.mkdir()
    for number in range(GOOD - 1):
        Image.new("L", (SIDE, SIDE), number).save(images / f"good{number:02d}.png")
    for number, case in enumerate(cases):
        (images / f"bad{number}.{case.odd.extension}").write_bytes(case.content)
    try:
        open_store(folder_source(images, "fuzz", Decoding(), size=SIDE, channels=1), folder / "cache")
    except UserError as error:
        return "2 of 20 images cannot be read, for example bad0" in str(error)
    return False


def serve(pipe: multiprocessing.connection.Connection, seed: int) -> None:
    """Read the cases whose numbers arrive, and answer with what came of each."""
    while (number := pipe.recv()) is not None:
        case = make_case(seed, number)
        with tempfile.TemporaryDirectory() as name:
            result = outcome(case, Path(name))
        stopped = True
        if result[0] == "refused" and number % 20 == 0 and case.damage not in {thing.__name__ for thing in THINGS}:
            with tempfile.TemporaryDirectory() as name:
                stopped = stops([case, case], Path(name))
        pipe.send((result, stopped, case.odd.kind))


def main() -> None:
    """Read all cases, each within a time limit, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    details: list[str] = []
    pipe: Any = None
    for number in range(arguments.files):
        if pipe is None:
            pipe, other = multiprocessing.Pipe()
            process = multiprocessing.get_context("fork").Process(
                target=serve, args=(other, arguments.seed), daemon=True
            )
            process.start()
            other.close()
        pipe.send(number)
        result, stopped, kind = ("hang", f"{LIMIT} s"), True, ""
        try:
            if pipe.poll(LIMIT):
                result, stopped, kind = pipe.recv()
        except EOFError:
            process.join()
            result = "crash", f"the process ended with {process.exitcode}"
        if result[0] == "hang" or not process.is_alive():
            process.kill()
            pipe = None
        counts[result[0]] += 1
        counts["sets not stopped"] += not stopped
        if result[0] in FAILURES or not stopped:
            details.append(f"{number} {kind}: {result[0]}: {result[1]}")
    print("\n".join(details))
    print("\n".join(f"{count:6,} {name}" for name, count in counts.most_common()))
    sys.exit(bool(details))


if __name__ == "__main__":
    main()
