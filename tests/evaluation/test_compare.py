"""Comparison of several networks: the same labels and test images, paired differences."""

import json
import logging
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from fewlabels.core.errors import UserError
from fewlabels.evaluation.compare import compare, compare_distances, left_out_sentences, shared_samples
from fewlabels.evaluation.context import EvaluationContext
from fewlabels.evaluation.run import evaluate
from fewlabels.probing.embeddings import Embeddings


def test_a_comparison_has_a_table_figures_results_and_a_report(folder, settings, new_run, caplog, blank_figures):
    new_run("other")
    evaluate(settings("label_efficiency"), folder / "run")
    caplog.set_level(logging.INFO, "fewlabels")
    caplog.clear()
    compare(settings(run=["run", "other"]), folder / "comparison")
    directory = folder / "comparison"
    table = pd.read_csv(directory / "label_efficiency.csv")
    assert list(table.columns) == ["source", "probe", "labels", "repeat", "balanced_accuracy"]
    assert set(table["source"]) == {"run", "other", "random init"}
    alone = pd.read_csv(folder / "run" / "label_efficiency.csv").query("source == 'pretrained'")
    assert table.query("source == 'run'")["balanced_accuracy"].tolist() == alone["balanced_accuracy"].tolist()
    results = json.loads((directory / "results.json").read_text())
    rows = table.query("source == 'other' and labels == 10")
    assert results["other/knn_10"] == pytest.approx(rows["balanced_accuracy"].mean())
    names = {path.stem for path in (directory / "figures").iterdir()}
    assert names == {"label_efficiency", "distances_1", "distances_2", "distances_3"}
    page = (directory / "report.html").read_text()
    assert re.findall(r"<h2[^>]*>([^<]*)</h2>", page) == ["Label efficiency", "Embedding space", "Provenance"]
    assert "2 networks on 2 classes unseen in pretraining" in page
    assert "has the highest balanced accuracy" in caplog.text
    assert "The best of 2 single checkpoints: intervals are over draws of labels, one pretraining each" in page
    reused = [line for line in caplog.messages if "Reusing" in line]
    assert len(reused) == 1, "only `run` was evaluated before"
    assert "run/embeddings.parquet" in reused[0]


def test_groups_of_runs_have_intervals_over_pretrainings(folder, settings, new_run, caplog, blank_figures):
    for name in ("same-1", "same-2", "other-1", "other-2"):
        new_run(name)
    caplog.set_level(logging.INFO, "fewlabels")
    groups = [[str(folder / "same-1"), str(folder / "same-2")], [str(folder / "other-1"), str(folder / "other-2")]]
    compare(settings() | {"run": groups, "probes": ["knn"]}, folder / "comparison")
    table = pd.read_csv(folder / "comparison" / "label_efficiency.csv")
    assert set(table["source"]) == {"same-1", "same-2", "other-1", "other-2", "random init"}
    results = json.loads((folder / "comparison" / "results.json").read_text())
    rows = table.query("source in ['same-1', 'same-2'] and labels == 10")
    assert results["same (2 runs)/knn_10"] == pytest.approx(rows["balanced_accuracy"].mean())
    assert "Intervals are over pretrainings" in caplog.text
    assert "2 networks on 2 classes unseen" in (folder / "comparison" / "report.html").read_text()


def context_of(name, tested=(2, 3), digests=(0, 1, 2, 3), labels=(0, 0, 0, 0), classes=None):
    """A context of four images of class `name`: labels are drawn from the first two."""
    known = Embeddings(np.zeros((4, 3), np.float32), np.array(labels), np.arange(4))
    embeddings = known.described([f"{name}/{n}.png" for n in range(4)], ["unseen"] * 4, classes or [name])
    data = SimpleNamespace(digests=np.array(digests))
    pool, test = np.array([0, 1]), np.array(tested)
    return EvaluationContext(
        data, None, "pretrained", None, "random init", embeddings, pool, test, name, {}, {}, {}, {}
    )


@pytest.mark.parametrize("other", [context_of("b"), context_of("a", digests=(0, 9, 2, 3)), context_of("a", (3,))])
def test_runs_with_other_images_are_not_compared(other):
    assert len(shared_samples({"one": context_of("a", (2,)), "two": context_of("a", (2,))})) == 2
    with pytest.raises(
        UserError, match=r"two would be tested on ., \d images, which are not those of one \(a, 1 images\)"
    ):
        shared_samples({"one": context_of("a", (2,)), "two": other})


def test_images_that_one_network_was_trained_on_are_tested_with_none():
    contexts = {"one": context_of("a", (2, 3)), "two": context_of("a", (3,)), "three": context_of("a", (2, 3))}
    sources = shared_samples(contexts)
    assert [test.paths.tolist() for _, test in sources.values()] == [["a/3.png"]] * 3
    assert left_out_sentences(contexts, 1) == [
        "Test images left out, because another of the networks was trained on them: 1 of one, 1 of three."
    ]
    assert left_out_sentences({"one": context_of("a", (3,))}, 1) == []


def test_the_classes_are_numbered_as_in_the_first_run():
    renumbered = context_of("a", labels=(7, 7, 7, 7), classes=("x",) * 7 + ("a",))
    for part in shared_samples({"one": context_of("a"), "two": renumbered})["two"]:
        assert part.labels.tolist() == [0, 0]
        assert part.classes == ("a",)


def test_distances_are_left_out_where_classes_are_too_small(context):
    settings = {"max_samples": 50, "seed": 0}
    table, figures = compare_distances(
        {"one": context.test_embeddings, "two": context.test_embeddings.select(np.arange(1))}, settings, synthetic=False
    )
    assert [row[0] for row in table.rows] == ["one"]
    assert list(figures) == ["distances_1"]
