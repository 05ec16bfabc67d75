"""From a folder that nobody has labelled to counts, with an oracle in the place of the user.

    python benchmarks/label_demo.py FOLDER [--images 3000] [--labels 100] [--orientations 1]

FOLDER has class folders, which are the truth. A flat copy of some of its images is labelled through the interface of
the labelling page: in rounds, what the page suggests. Then the rest is predicted and counted. Prints the time of every
step.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import numpy as np
import pandas as pd

SOURCE = Path(__file__).parents[1] / "src"


def main() -> None:
    """Copy, label, predict, count."""
    arguments = parse()
    with tempfile.TemporaryDirectory() as work:
        folder, truth = flat_copy(Path(arguments.folder), Path(work) / "images", arguments.images)
        print(f"{len(truth):,} images of {len(set(truth.values()))} classes in a flat folder, none labelled")
        common = ["run=imagenet", f"data.root={folder}", f"orientations={arguments.orientations}"]
        spent = label(common, truth, arguments.labels, Path(work))
        start = time.monotonic()
        command = [sys.executable, str(SOURCE / "predict.py"), *common, f"data.labels={folder}/labels.csv"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=True)
        spent["predict and count"] = time.monotonic() - start
        compare(Path(work) / done.stdout.splitlines()[-1], truth)
    for step, seconds in spent.items():
        print(f"{step:28} {seconds:6.1f} s")


def flat_copy(source: Path, target: Path, count: int) -> tuple[Path, dict[str, str]]:
    """Link images of all classes into one folder, drawn at random; returns it, and {file name: class}."""
    target.mkdir()
    files = sorted(path for path in source.glob("*/*") if path.is_file())
    truth = {}
    for place in np.random.default_rng(0).permutation(len(files))[:count]:
        path = files[place]
        (target / path.name).symlink_to(path.resolve())
        truth[path.name] = path.parent.name
    return target, truth


def label(common: list[str], truth: dict[str, str], labels: int, work: Path) -> dict[str, float]:
    """Label what the page suggests, through its interface; returns the seconds of each step."""
    start = time.monotonic()
    command = [sys.executable, "-u", str(SOURCE / "label.py"), *common, "browse=false"]
    with subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout
        found = next((m for line in server.stdout if (m := re.search(r"(http://\S+/)\?token=\S+", line))), None)
        if not found:
            sys.exit("The labelling page did not start.")
        page = build_opener(HTTPCookieProcessor(CookieJar()))
        page.open(found[0]).read()
        while not ask(page, f"{found[1]}api/state")["ready"]:
            time.sleep(0.2)
        spent = {"start and embed": time.monotonic() - start}
        start, given, slowest = time.monotonic(), 0, 0.0
        while given < labels:
            rows = ask(page, f"{found[1]}api/rows?view=suggestions")[: labels - given]
            images = ask(page, f"{found[1]}api/images?rows={quote(','.join(map(str, rows)))}")
            for image in images:
                before = time.monotonic()
                body = {
                    "rows": [image["row"]],
                    "label": truth[image["path"]],
                    "seen": [image["label"]],
                    "editor": "oracle",
                }
                ask(page, f"{found[1]}api/label", body)
                slowest = max(slowest, time.monotonic() - before)
            given += len(rows)
        spent[f"{given} labels"] = time.monotonic() - start
        spent["the slowest of these"] = slowest
        server.terminate()
    return spent


def ask(page: OpenerDirector, address: str, body: dict[str, Any] | None = None) -> Any:
    """The answer of the page's interface."""
    data = None if body is None else json.dumps(body).encode()
    with page.open(Request(address, data, {"Content-Type": "application/json"})) as answer:
        return json.load(answer)


def compare(run: Path, truth: dict[str, str]) -> None:
    """Print the accuracy of the guesses, and how the counts compare with the truth."""
    table = pd.read_csv(run / "predictions.csv")
    guesses = table[table["from"] == "guess"]
    right = (guesses["class"] == guesses["path"].map(truth)).mean()
    counts = pd.read_csv(run / "counts.csv")
    sizes = counts["class"].map(pd.Series(truth).value_counts())
    inside = ((counts["low"] <= sizes) & (sizes <= counts["high"])).mean()
    missed = len(set(truth.values())) - len(counts)
    print(f"{100 * right:.1f}% of {len(guesses):,} guesses are right; {missed} classes have no label")
    print(f"mean error of a class's number: {(counts['expected'] - sizes).abs().mean():.1f} (predictions counted: "
          f"{(counts['raw'] - sizes).abs().mean():.1f}); {100 * inside:.0f}% of the intervals hold it")  # fmt: skip
    print(counts.assign(truth=sizes).sort_values("truth", ascending=False).to_string(index=False, max_rows=12))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="of class folders with images")
    parser.add_argument("--images", type=int, default=3000, help="to copy (default: 3000)")
    parser.add_argument("--labels", type=int, default=100, help="that the oracle gives (default: 100)")
    parser.add_argument("--orientations", type=int, default=1, help="of an image (default: 1)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
