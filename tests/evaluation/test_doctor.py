"""`doctor` by its script: the page, the table, and the exit code."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def root(tmp_path):
    """Forty images in two classes, of which one is a copy in the other class."""
    for number in range(40):
        file = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(number).integers(60, 190, (6, 6), dtype=np.uint8)
        Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC).save(file)
    return tmp_path / "images"


@pytest.mark.subprocess
def test_a_folder_without_faults_ends_with_its_page(script, root, tmp_path):
    done = script("doctor", f"data.root={root}", "data.size=32")
    run = tmp_path / done.stdout.splitlines()[-1]
    page = (run / "doctor.html").read_text()
    assert "Nothing has to be decided." in page
    assert "40 images, 40 of them in 2 classes." in page
    assert "40 of 8 bits" in page
    assert "96 to 96 px, median 96" in page
    assert (run / "findings.csv").read_text() == "finding,path,other\n"


@pytest.mark.subprocess
def test_what_must_be_decided_ends_with_a_message_that_says_how(script, root):
    (root / "b" / "copy.png").write_bytes((root / "a" / "0.png").read_bytes())
    (root / "b" / "broken.png").write_text("no image")
    done = script("doctor", f"data.root={root}", "data.size=32", code=1)
    assert "1 thing has to be decided. See " in done.stderr
    assert "- Exact copies of different classes (1): correct the labels, or remove both" in done.stderr
    assert "Traceback" not in done.stderr
    page = Path(next(word for word in done.stderr.split() if word.endswith("doctor.html")))
    rows = list(csv.DictReader((page.parent / "findings.csv").read_text().splitlines()))
    assert {"finding": "Exact copies", "path": "a/0.png", "other": "b/copy.png"} in rows
    assert "data:image/" in page.read_text()
    assert re.search(r"Files that cannot be read.*b/broken.png.*not an image of a known format", page.read_text(), re.S)


@pytest.mark.subprocess
def test_a_folder_is_asked_for(script):
    done = script("doctor", code=1)
    assert "Give data.root=FOLDER, the folder of your images, or data=NAME." in done.stderr
