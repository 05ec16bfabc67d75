"""Suggestions: who is suggested, and the script from a flat folder to labels that it takes back."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from fewlabels.core.errors import UserError
from fewlabels.labelling.embedded import EmbeddedImages
from fewlabels.labelling.suggest import choose, class_doubt
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.selection import STRATEGIES, neighbour_space


def images(labels, digests=None):
    vectors = np.random.default_rng(0).normal(size=(len(labels), 6)).astype(np.float32)
    labels = np.array(labels)
    digests = np.arange(len(labels)) if digests is None else np.array(digests)
    data = SimpleNamespace(labels=labels, digests=digests, root="FOLDER")
    return EmbeddedImages(data, Embeddings(vectors, labels, np.arange(len(labels))), neighbour_space(vectors))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_unlabelled_images_are_suggested_and_no_copies(strategy):
    given = images([-1] * 20 + [0, 1], digests=[*range(10), *range(10), 9, 20])
    rows = choose(given, 50, strategy, 0)
    assert sorted(rows) == list(range(9))  # of two copies the first; 9 is a copy of a labelled image
    assert set(choose(given, 4, strategy, 0)) < set(range(9))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_if_all_are_labelled_the_message_says_by_what(strategy):
    with pytest.raises(UserError, match=r"All 3 images of data.root=FOLDER are labelled: .* the folders that images"):
        choose(images([0, 1, 0]), 2, strategy, 0)


def test_the_next_ones_are_where_the_labels_leave_the_class_uncertain():
    draw = np.random.default_rng(0)
    place = np.repeat([0, 1, 2], [40, 40, 12])  # two clear classes, and a few images between them
    centres = np.array([[1, 0, 0], [0, 1, 0], [0.7, 0.7, 0.2]])
    vectors = (centres[place] + 0.03 * draw.normal(size=(92, 3))).astype(np.float32)
    labels = np.full(92, -1)
    labels[[0, 1, 2, 40, 41, 42]] = [0, 0, 0, 1, 1, 1]
    points = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    data = SimpleNamespace(labels=labels, digests=np.arange(92), root="FOLDER")
    given = EmbeddedImages(data, Embeddings(vectors, labels, np.arange(92)), points)
    assert place[choose(given, 1, "covering", 0)] == [2]
    weights = class_doubt(points, np.flatnonzero(labels >= 0), labels)
    assert weights[place == 2].mean() > 5 * weights[place != 2].mean()
    assert class_doubt(points, np.array([0, 1]), labels) is None


def read(file):
    with file.open(newline="") as opened:
        return [*csv.DictReader(opened)]


@pytest.mark.subprocess
def test_suggestions_with_labels_filled_in_lead_to_the_next_ones(script, tree, tmp_path):
    root = tree({f"{number}.png": number for number in range(40)})
    settings = ["run=random", f"data.root={root}", "data.size=32", "n=6"]
    first = tmp_path / script("suggest", *settings).stdout.splitlines()[-1]
    rows = read(first / "suggestions.csv")
    assert [row["order"] for row in rows] == list("123456")
    assert {row["label"] for row in rows} == {""}
    assert (first / "figures" / "suggestions.png").is_file()
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\n" + "".join(f"{row['path']},odd\n" for row in rows))
    done = script("suggest", *settings, f"data.labels={labels}")
    assert "Reusing the embeddings" in done.stdout
    assert "6 of 40 images to label next (6 are labelled)" in done.stdout
    following = read(tmp_path / done.stdout.splitlines()[-1] / "suggestions.csv")
    new = {row["path"] for row in following if row["order"]}
    assert len(new) == 6
    assert not {row["path"] for row in rows} & new
    earlier = {row["path"]: row["label"] for row in following if not row["order"]}
    assert earlier == {row["path"]: "odd" for row in rows}  # so that the file has all labels once it is filled in


@pytest.mark.subprocess
@pytest.mark.parametrize(("override", "message"), [
    ("strategy=best", "strategy=best: choose one of typical, covering, random"),
    ("n=0", "n=0"), ("orientations=3", "orientations=3: choose 1"), ("run=null", "run=null: give run=RUN_DIR"),
    ("data.root=gone", "data.root=gone does not exist"),
])  # fmt: skip
def test_mistakes_are_named(script, tree, override, message):
    root = tree({f"{number}.png": number for number in range(4)})
    overrides = {"run": "random", "data.root": str(root), "data.size": "32"} | dict([override.split("=")])
    done = script("suggest", *(f"{key}={value}" for key, value in overrides.items()), code=1)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
