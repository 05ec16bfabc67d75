"""Predictions and counts by the script, of the folder that is labelled and of another one."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fewlabels.probing.embeddings import Embeddings

ROOT = Path(__file__).parents[2]
SETTINGS = ["run=random", "data.size=32"]


@pytest.fixture
def folder(tmp_path):
    """A function that writes bright and dark noise: `folder("name", bright, dark)`."""

    def write(name, bright, dark):
        root = tmp_path / name
        for number in range(bright + dark):
            draw = np.random.default_rng(number + 1000 * len(name))
            low, high = (150, 255) if number < bright else (0, 90)
            path = root / f"site{number % 2}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(low, high, (16, 16), dtype=np.uint8)).save(path)
        rows = [
            f"site{n % 2}/{n}.png,{'bright' if n < bright else 'dark'}" for n in (*range(6), *range(bright, bright + 6))
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(["path,label", *rows]))
        return root

    return write


@pytest.mark.subprocess
def test_the_rest_of_a_folder_is_predicted_and_counted_by_sample(script, folder, tmp_path):
    root = folder("here", 30, 20)
    done = script("predict", *SETTINGS, f"data.root={root}", f"data.labels={tmp_path / 'here.csv'}", "sample=1")
    run = tmp_path / done.stdout.splitlines()[-1]
    table = pd.read_csv(run / "predictions.csv")
    truth = np.where(table["path"].str.extract(r"(\d+)\.png")[0].astype(int) < 30, "bright", "dark")
    assert (table["class"] == truth).all()
    assert (table["from"].value_counts().to_dict(), set(table["class"])) == (
        {"guess": 38, "label": 12},
        {"bright", "dark"},
    )
    assert (table.loc[table["from"] == "label", "probability"] == 1).all()
    assert (table["class"] != table["second_class"]).all()
    counts = pd.read_csv(run / "counts.csv").set_index(["sample", "class"])
    assert counts.loc[("all", "bright"), "raw"] == 30
    assert counts.loc["site0", "raw"].sum() == counts.loc["site1", "raw"].sum() == 25
    assert {path.name for path in (run / "figures").iterdir()} == {
        "counts.png", "most_doubtful.png", "doubtful_by_class.png",
    }  # fmt: skip
    assert "About 100% of all images are guessed right (" in done.stdout
    assert "12 labels are too few to tell which images look like none of them: 20 are needed" in done.stdout


@pytest.mark.subprocess
def test_images_that_look_like_no_label_are_unknown_with_their_most_probable_class(script, folder, tmp_path):
    root = folder("here", 40, 40)
    for number in range(20):  # of a class that nobody has labelled
        pixels = np.zeros((16, 16), np.uint8)
        pixels[:, ::2] = 200 + number
        Image.fromarray(pixels).save(root / "site0" / f"stripes{number}.png")
    rows = [f"site{n % 2}/{n}.png,{'bright' if n < 40 else 'dark'}" for n in (*range(12), *range(40, 52))]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["path,label", *rows]))
    done = script("predict", *SETTINGS, f"data.root={root}", f"data.labels={labels}")
    run = tmp_path / done.stdout.splitlines()[-1]
    table = pd.read_csv(run / "predictions.csv").set_index("path")
    unknown = table["class"] == "unknown"
    assert unknown[table.index.str.contains("stripes")].all()
    assert unknown.sum() < 20 + 0.3 * 80
    assert table.loc[unknown, "probability"].isna().all()
    assert set(table.loc[unknown, "second_class"]) <= {"bright", "dark"}
    assert (table.loc[unknown, "second_probability"] >= 0.5).all()
    counts = pd.read_csv(run / "counts.csv").set_index("class")
    assert counts.loc["unknown", "raw"] == unknown.sum()
    assert counts["expected"].sum() == pytest.approx(100, abs=0.2)
    none = script("predict", *SETTINGS, f"data.root={root}", f"data.labels={labels}", "unknown=null")
    assert "unknown" not in (tmp_path / none.stdout.splitlines()[-1] / "counts.csv").read_text()
    wrong = script("predict", *SETTINGS, f"data.root={root}", f"data.labels={labels}", "unknown=10", code=1)
    assert "unknown=10: give null, or a share between 0 and 1" in wrong.stderr


@pytest.mark.subprocess
def test_labels_of_one_folder_predict_another(script, folder, tmp_path):
    known, new = folder("known", 30, 30), folder("new", 5, 25)
    done = script("predict", *SETTINGS, f"data.root={new}", f"labelled.root={known}",
                  f"labelled.labels={tmp_path / 'known.csv'}",
                  "formats=[ecotaxa,folders,fiftyone,embedding_atlas]")  # fmt: skip
    run = tmp_path / done.stdout.splitlines()[-1]
    table = pd.read_csv(run / "predictions.csv")
    assert (len(table), set(table["from"])) == (30, {"guess"})
    assert table["class"].value_counts().to_dict() == {"dark": 25, "bright": 5}
    with zipfile.ZipFile(run / "ecotaxa_1.zip") as archive:
        assert len(archive.namelist()) == 31
    sizes = {path.name: len(list(path.iterdir())) for path in (run / "classes").iterdir()}
    assert sizes == {"dark": 25, "bright": 5}
    assert len(json.loads((run / "fiftyone" / "labels.json").read_text())["labels"]) == 30
    assert pd.read_parquet(run / "embedding_atlas.parquet")["path"].tolist() == table["path"].tolist()


@pytest.mark.subprocess
def test_an_unknown_format_is_refused_with_those_that_there_are(script, folder, tmp_path):
    done = script("predict", *SETTINGS, f"data.root={folder('here', 6, 6)}", "formats=[ecotaxa,zooniverse]", code=1)
    assert "formats=zooniverse: choose from ecotaxa, folders, fiftyone, embedding_atlas" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.subprocess
def test_images_may_be_in_an_inner_folder_that_the_dataset_knows(script, folder, tmp_path):
    folder("outer/flowers", 6, 6)
    for name in (f"site{number % 2}/{number}.png" for number in range(12)):  # the same images as classes
        file = tmp_path / "outer" / "flowers" / name
        target = file.parents[1] / ("bright" if int(file.stem) < 6 else "dark") / file.name
        target.parent.mkdir(exist_ok=True)
        file.rename(target)
    for site in ("site0", "site1"):
        (tmp_path / "outer" / "flowers" / site).rmdir()
    done = script("predict", "run=random", "data=flowers", "data.size=32", f"data.root={tmp_path / 'outer'}",
                  "formats=folders")  # fmt: skip
    links = list((tmp_path / done.stdout.splitlines()[-1] / "classes").glob("*/*"))
    assert sorted(link.resolve().parent.name for link in links) == ["bright"] * 6 + ["dark"] * 6


@pytest.mark.subprocess
def test_without_labels_of_two_classes_the_message_says_how_to_give_them(script, tree):
    root = tree({f"{number}.png": 10 * number for number in range(9)})
    done = script("predict", *SETTINGS, f"data.root={root}", code=1)
    assert "0 images of 0 classes are labelled in data.root=" in done.stderr
    assert "Give data.labels=labels.csv" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.subprocess
@pytest.mark.slow
def test_images_whose_names_are_not_utf8_are_evaluated_and_predicted(tmp_path, environment):
    """A folder, its classes and its files, and all that evaluate and predict write of them, in Latin-1."""
    folder = os.fsencode(tmp_path) + b"/\xfcber"
    for number in range(60):
        name = (b"caf\xe9", b"plain")[number % 2] + b"/im\xe9_%d.png" % number
        (path := Path(os.fsdecode(folder + b"/" + name))).parent.mkdir(parents=True, exist_ok=True)
        low = 120 * (number % 2)
        pixels = np.random.default_rng(number).integers(low, low + 120, (16, 16), dtype=np.uint8)
        with path.open("wb") as file:
            Image.fromarray(pixels).save(file, "png")
    labels = b"".join(b"caf\xe9/im\xe9_%d.png,a\nplain/im\xe9_%d.png,b\n" % (n, n + 1) for n in range(0, 12, 2))
    (tmp_path / "labels.csv").write_bytes(b"path,label\n" + labels)

    def run(name, *arguments):
        command = [sys.executable, str(ROOT / "src" / f"{name}.py"), *SETTINGS, b"data.root=" + folder, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=500)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return Path(os.fsdecode(done.stdout.splitlines()[-1]))

    evaluated = run("evaluate", "repeats=2", "data.min_class_size=1")
    assert b"caf%E9" in (evaluated / "report.html").read_bytes()
    assert "caf\udce9/im\udce9_0.png" in Embeddings.load(evaluated / "embeddings.parquet").paths
    predicted = run(
        "predict", "data.labels=labels.csv", "formats=[ecotaxa,folders,fiftyone,embedding_atlas]", "sample=1"
    )
    assert b"\ncaf\xe9/im\xe9_0.png,a," in (predicted / "predictions.csv").read_bytes()
    assert b"\ncaf\xe9,a," in (predicted / "counts.csv").read_bytes()
    with zipfile.ZipFile(predicted / "ecotaxa_1.zip") as archive:
        assert "caf%E9/im%E9_0.png" in archive.namelist()


@pytest.mark.subprocess
def test_classes_are_those_of_the_labelled_folder_and_mistakes_are_named_by_its_keys(script, folder, tmp_path):
    known, new = folder("known", 30, 30), folder("newer", 5, 25)
    settings = [
        *SETTINGS,
        f"data.root={new}",
        f"labelled.root={known}",
        "data.class_level=1",
        "data.unlabelled=[site1]",
    ]
    done = script("predict", *settings, code=1)  # only site0 is left
    assert "images of 1 classes are labelled" in done.stderr
    gone = script("predict", *SETTINGS, f"data.root={new}", f"labelled.root={tmp_path / 'gone'}", code=1)
    assert f"labelled.root={tmp_path / 'gone'} does not exist" in gone.stderr
    none = script("predict", *SETTINGS, f"data.root={new}", f"labelled.root={known}",
                  f"labelled.labels={tmp_path / 'known.csv'}", "sample=7", code=1)  # fmt: skip
    assert "sample=7 finds no group" in none.stderr
