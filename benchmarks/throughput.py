"""Speed: python benchmarks/throughput.py [--images DIR] [--steps N] [--only NAME ...] [--quick].

Every number is measured in new processes and compared with a target. Comparisons alternate between both sides and
report the median ratio of neighbouring runs. The table is printed; all measured values are written to build/bench.json.
Nothing else should run on the machine. About 10 minutes on 2 cores. A missed target is marked; only a failed
measurement gives an exit code other than 0.

Names for --only: pretrain (against the bare loop), lightly (pretrain against its example), views, store, startup,
memory, processes.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import _measures
from _plumbing import ROOT, FailedProcessError, Options, Row, call

NAMES = ("pretrain", "lightly", "views", "store", "startup", "memory", "processes")
OUTPUT = ROOT / "build"


def main() -> int:
    """Measure, print, save; returns 1 if a measurement failed."""
    arguments = parse()
    start, busy = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="fewlabels-bench-") as scratch:
        try:
            machine = describe(busy)
            images, kind = find_images(arguments, Path(scratch))
            shape = (arguments.steps, arguments.batch, arguments.repeats, arguments.quick)
            options = Options(images, Path(scratch), *shape)
            rows, failures = measure(options, set(arguments.only), machine)
        except FailedProcessError as error:
            print(error, file=sys.stderr)
            return 1
    minutes = (time.monotonic() - start) / 60
    provenance = {**vars(arguments), "images": kind, "machine": machine, "minutes": round(minutes, 1)}
    show(rows, provenance)
    save(rows, provenance, failures)
    return 1 if failures else 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    first, _, rest = str(__doc__).partition("\n\n")
    parser = argparse.ArgumentParser(description=first, epilog=rest, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of flowers, one folder per class (default: data/flowers)")
    parser.add_argument("--steps", type=_natural, help="optimizer steps per process that are measured (default: 23)")
    parser.add_argument("--repeats", type=_natural, help="runs of each side of the training measurements (default: 3)")
    parser.add_argument("--batch", type=_natural, help="images per device and step (default: 128)")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME", help="see below")
    parser.add_argument("--quick", action="store_true", help="check only that everything runs; numbers mean nothing")
    arguments = parser.parse_args()
    defaults = {"steps": 2, "repeats": 1, "batch": 8} if arguments.quick else {"steps": 23, "repeats": 3, "batch": 128}
    for key, value in defaults.items():
        setattr(arguments, key, getattr(arguments, key) or value)
    if arguments.images and not arguments.images.is_dir():
        parser.error(f"--images {arguments.images}: there is no such folder")
    return arguments


def _natural(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("give a whole number of at least 1")
    return number


def describe(busy: float) -> dict[str, Any]:
    """The machine, torch, and the load before the start."""
    model = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).is_file():
        named = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = named[0].partition(":")[2].strip() if named else model
    return {
        "date": datetime.now().astimezone().isoformat(timespec="minutes"),
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_before": round(busy, 2),
        "python": platform.python_version(),
        **call("_loops", "machine"),
    }


def find_images(arguments: argparse.Namespace, scratch: Path) -> tuple[Path, str]:
    """The folder of images and its description; without a folder, synthetic flowers are written to one."""
    default = ROOT / "data" / "flowers"
    default = next((p for p in (default / "flower_photos", default / "flowers") if p.is_dir()), default)
    if arguments.images or default.is_dir():
        images = (arguments.images or default).absolute()
        return images, str(images)
    folder = scratch / "flowers"
    count = call("_storage", "draw", folder=str(folder), per_class=20 if arguments.quick else 860)
    return folder, f"{count:,} SYNTHETIC flowers (data/flowers does not exist)"


def measure(options: Options, names: set[str], machine: dict[str, Any]) -> tuple[list[Row], list[str]]:
    """Run all measurements, also after one has failed; returns the rows and the output of those that failed."""
    rows: list[Row] = []
    failures: list[str] = []
    for name, measured in measurements(options, names, machine):
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            rows.extend(measured)
        except Exception as error:
            known = isinstance(error, FailedProcessError)
            failures.append(str(error) if known else traceback.format_exc())
            print(failures[-1], file=sys.stderr)
            rows.append(Row(name, None, detail="FAILED; its output is above the table"))
    return rows, failures


def measurements(options: Options, names: set[str], machine: dict[str, Any]) -> Iterator[tuple[str, Iterator[Row]]]:
    """The chosen measurements, by name; each runs when its rows are iterated over."""
    if names & {"pretrain", "lightly"}:
        yield "training", _measures.training(options, names)
    for name in ("views", "store", "startup", "memory"):
        if name in names:
            yield name, getattr(_measures, name)(options)
    if "processes" in names:
        yield "processes", _measures.processes(options, machine["gpus"] or machine["cores"])


def show(rows: list[Row], provenance: dict[str, Any]) -> None:
    """Print the table."""
    machine = provenance["machine"]
    title = f"Throughput: ResNet-18, 64 px, batch {provenance['batch']}, {provenance['images']}"
    if provenance["quick"]:
        title += "\n--quick: this only checks that everything runs; the numbers mean nothing"
    where = f"{machine['cores']} cores of {machine['cpu']}" + (f", {machine['gpu']}" if machine["gpu"] else "")
    caption = (
        f"{machine['date']}; {where}; torch {machine['torch']}, {machine['precision']}, {machine['threads']} threads; "
        f"load before the start {machine['load_before']}; {provenance['minutes']} min"
    )
    table = Table(title=escape(title), caption=escape(caption), title_justify="left", caption_justify="left")
    for column, side in (("measured", "left"), ("median", "right"), ("target", "right"), ("", "left"), ("n", "right")):
        table.add_column(column, justify=side, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("medians of the two sides")
    for row in rows:
        table.add_row(*cells(row, judged=not provenance["quick"]))
    console = Console()
    console.width = max(console.width, 130)
    console.print(table)


def cells(row: Row, judged: bool) -> list[str]:
    """A row of the table as text; if `judged`, with a mark that says whether the target is reached."""
    value = (
        "–"
        if row.value is None
        else f"{row.value:.2f} {row.unit}"
        if abs(row.value) < 100
        else f"{row.value:,.0f} {row.unit}"
    )
    target = "" if row.target is None else f"{'≥' if row.least else '≤'} {row.target:g}"
    mark = {True: "[green]OK[/]", False: "[red]missed[/]", None: ""}[row.ok if judged else None]
    count = str(min(map(len, row.samples.values()))) if row.samples else ""
    return [escape(row.name), value, target, mark, count, escape(row.detail)]


def save(rows: list[Row], provenance: dict[str, Any], failures: list[str]) -> None:
    """Write build/bench.json; --quick writes another file, to keep real measurements."""
    OUTPUT.mkdir(exist_ok=True)
    file = OUTPUT / ("bench-quick.json" if provenance["quick"] else "bench.json")
    table = [vars(row) | {"ok": None if provenance["quick"] else row.ok} for row in rows]
    file.write_text(json.dumps(provenance | {"rows": table, "failures": failures}, indent=2, default=str) + "\n")
    print(f"All measured values: {file}")


if __name__ == "__main__":
    sys.exit(main())
