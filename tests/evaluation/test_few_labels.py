"""Evaluation of image folders that lack what some analyses need: no labels, no test split, few or identical images."""

import html
import json
import re

import numpy as np
import pytest
from PIL import Image

from fewlabels.cli.app import compose_config
from fewlabels.evaluation.run import evaluate
from fewlabels.probing.projections import principal_components
from fewlabels.probing.representation_quality import COLLAPSED

TINY = (
    "data=images", "data.size=32", "data.channels=1", "data.batch_size=2", "backbone=mobilenet_v3_small", "logger=csv",
)  # fmt: skip
NEEDS_LABELS = (
    "Label efficiency", "Layer-wise linear probe", "Distances between classes",
    "Nearest and furthest images of each class",
)  # fmt: skip


def write_flat(folder, count, *, same=False, class_name=""):
    """Grey images with other brightness each, or all the same, in one folder or in one class folder."""
    random = np.random.default_rng(0)
    target = folder / class_name
    target.mkdir(parents=True)
    for number in range(count):
        pixels = np.full((24, 24), 128) if same else random.normal(random.uniform(60, 200), 25, (24, 24))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(target / f"image{number}.png")


@pytest.fixture
def report(tmp_path, monkeypatch, caplog, write_any_run):
    """Write a run on `images`, evaluate it with all analyses; return what was logged, report.html and results.json."""
    monkeypatch.setenv("FEWLABELS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(  # UMAP compiles for half a minute; tests/probing/test_projections.py has it for few images
        "fewlabels.evaluation.analyses.embedding_maps.umap_projection",
        lambda vectors, seed: principal_components(vectors, 2)[0],
    )

    def make(*overrides, method="simclr", **changes):
        run = tmp_path / "run"
        write_any_run(run, *TINY, f"method={method}", f"data.root={tmp_path / 'images'}", *overrides)
        settings = compose_config("repeats=2", script="evaluate") | {"run": str(run), "data": []} | changes
        caplog.set_level("INFO", "fewlabels")
        evaluate(settings, run)
        logged = "\n".join(record.message for record in caplog.records)
        return logged, (run / "report.html").read_text(), json.loads((run / "results.json").read_text())

    return make


def check_numbers(logged, page, results):
    assert all(np.isfinite(value) for value in results.values())
    text = page.partition("</style>")[2]
    assert "nan" not in logged.lower().replace("simclr", "")
    assert ">nan" not in text.lower()
    assert " nan" not in text.lower()


def test_without_labels_everything_that_needs_none_is_reported(tmp_path, report):
    write_flat(tmp_path / "images", 40)
    logged, page, results = report(orientations=2)
    check_numbers(logged, page, results)
    for title in NEEDS_LABELS:
        assert f"Left out: {title}." in logged
        assert title in page
    figures = {path.stem for path in (tmp_path / "run" / "figures").iterdir()}
    assert {"umap", "pair_plot", "neighbours", "representation_quality"} <= figures
    assert {"representation/effective_rank", "representation/uniformity"} <= results.keys()
    assert not any("efficiency/" in name for name in results)
    assert "0 classes" not in page
    assert "None of the 40 images has a label" in page
    run, root = tmp_path / "run", tmp_path / "images"
    commands = [html.unescape(command) for command in re.findall(r"<pre>(.*?)</pre>", page)]
    assert commands[0].endswith(f"evaluate.py run={run} orientations=2")
    assert commands[1].startswith(commands[0].partition("evaluate")[0] + "finetune.py ")
    assert commands[1].endswith(f"checkpoint={run}")
    assert str(root) in page


@pytest.mark.parametrize(("method", "splits"), [("rotnet", ["test"]), ("simclr", ["test", "val"])])
def test_without_a_split_the_rest_is_reported(tmp_path, report, method, splits):
    write_flat(tmp_path / "images", 20)
    logged, page, results = report(*(f"data.{split}_fraction=0" for split in splits), method=method)
    check_numbers(logged, page, results)
    assert (tmp_path / "run" / "figures" / "neighbours.png").is_file()
    assert "representation/effective_rank" in results


@pytest.mark.parametrize("count", [1, 2])
def test_of_very_few_images_nothing_is_invented(tmp_path, report, count):
    write_flat(tmp_path / "images", count)
    logged, page, results = report("data.test_fraction=0", "data.val_fraction=0")
    check_numbers(logged, page, results)
    assert "Left out: Maps of the embedding space. A map needs at least 5 images" in logged
    assert ("Left out: Nearest neighbours." in logged) == (count < 2)
    assert ("Left out: Representation quality." in logged) == (count < 2)


def test_one_class_is_said_to_be_too_few(tmp_path, report):
    write_flat(tmp_path / "images", 30, class_name="bud")
    logged, page, results = report()
    check_numbers(logged, page, results)
    assert "at least 2 classes; there are 1" in logged


def test_identical_images_are_called_collapsed(tmp_path, report):
    write_flat(tmp_path / "images", 24, same=True)
    logged, page, results = report()
    check_numbers(logged, page, results)
    assert COLLAPSED in logged
