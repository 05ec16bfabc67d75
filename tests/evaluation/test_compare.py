"""Comparison of several networks: the same labels and test images, paired differences."""

import json
import logging
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from fewlabels.core.errors import UserError
from fewlabels.evaluation.compare import (
    compare,
    compare_distances,
    group_means,
    group_sentences,
    group_table,
    named_groups,
    same_samples,
    short_names,
    summary_sentences,
)
from fewlabels.evaluation.context import EvaluationContext
from fewlabels.evaluation.run import evaluate
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.intervals import interval, welch


def test_a_comparison_has_a_table_figures_results_and_a_report(folder, settings, new_run, caplog, blank_figures):
    new_run("other")
    evaluate(settings("label_efficiency"), folder / "run")
    caplog.set_level(logging.INFO, "fewlabels")
    caplog.clear()
    compare(settings(run=["run", "other"]), folder / "comparison")
    directory = folder / "comparison"
    table = pd.read_csv(directory / "label_efficiency.csv")
    assert list(table.columns) == ["source", "probe", "labels", "repeat", "balanced_accuracy"]
    assert set(table["source"]) == {"run", "other", "untrained"}
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
    reused = [line for line in caplog.messages if "Reusing" in line]
    assert len(reused) == 1, "only `run` was evaluated before"
    assert "run/embeddings.parquet" in reused[0]


SINGLE = (
    "One pretraining run each, with mean's 95% intervals over draws of labels: this says nothing about other seeds."
)


def context_of(name):
    known = Embeddings(np.zeros((2, 3), np.float32), np.zeros(2, np.int64), np.arange(2))
    embeddings = known.described([f"{name}/0.png", f"{name}/1.png"], ["unseen"] * 2, [name])
    return EvaluationContext(None, None, None, embeddings, np.array([0]), np.array([1]), name, {}, {}, {}, {})


def test_runs_with_other_test_images_are_not_compared():
    assert len(same_samples("one", context_of("a"), context_of("a"))) == 2
    message = "two would be tested on b, 1 images, which are not those of the first run"
    with pytest.raises(UserError, match=message):
        same_samples("two", context_of("b"), context_of("a"))


def test_the_classes_are_numbered_as_in_the_first_run():
    renumbered = context_of("a")
    renumbered.embeddings = replace(renumbered.embeddings, labels=np.full(2, 7), classes=("x",) * 7 + ("a",))
    for part in same_samples("one", renumbered, context_of("a")):
        assert part.labels.tolist() == [0]
        assert part.classes == ("a",)


def test_names_are_the_shortest_that_differ():
    assert short_names(["runs/a", "runs/b"]) == ["a", "b"]
    assert short_names(["one/run", "two/run/"]) == ["one/run", "two/run"]
    with pytest.raises(UserError, match="run=x,x gives a run twice"):
        short_names(["x", "x"])


def efficiency(**scores):
    """Balanced accuracies by source: {labels: values of the repeats}."""
    rows = [(source, "svc", labels, repeat, value) for source, by_labels in scores.items()
            for labels, values in by_labels.items() for repeat, value in enumerate(values)]  # fmt: skip
    return pd.DataFrame(rows, columns=["source", "probe", "labels", "repeat", "balanced_accuracy"])


def test_the_best_network_is_named_with_its_paired_lead():
    table = efficiency(
        a={30: [0.1, 0.1], 100: [0.80, 0.84], 200: [0.9]},
        b={30: [0.9, 0.9], 100: [0.70, 0.74], 200: [0.9]},
        c={30: [0.9, 0.9], 100: [0.70, 0.92], 200: [0.9]},
    )
    (sentence,) = summary_sentences(table)
    # Student's t for 2 values: 12.706 × std / √2; the lead over c is 10 and -8, that over b is 10 twice: no interval
    assert sentence == (
        "Support vector machine, 100 labels: a has the highest balanced accuracy (best of 3), 82.0 ± 25.4% (one "
        "labelling session: 5–95% of draws 60.1–100.0%); +1.0 ± 114.4 points over c (no clear difference); +10.0 "
        f"points over b (no interval). {SINGLE}"
    )


def test_a_single_repeat_has_no_interval():
    (sentence,) = summary_sentences(efficiency(a={200: [0.9]}, b={200: [0.5]}))
    assert sentence == (
        "Support vector machine, 200 labels: a has the highest balanced accuracy (best of 2), 90.0%; +40.0 points "
        f"over b (no interval). {SINGLE}"
    )


def test_distances_are_left_out_where_classes_are_too_small(context):
    settings = {"max_samples": 50, "seed": 0}
    table, figures = compare_distances(
        {"one": context.test_embeddings, "two": context.test_embeddings.select(np.arange(1))}, settings, synthetic=False
    )
    assert [row[0] for row in table.rows] == ["one"]
    assert list(figures) == ["distances_1"]


def test_groups_are_compared_over_their_pretraining_runs():
    """The replicates are runs, each with its mean over draws: many draws of one network are no more evidence."""
    table = efficiency(
        a0={100: [0.80, 0.84]}, a1={100: [0.84, 0.88]}, a2={100: [0.81, 0.85]},
        b0={100: [0.70, 0.72]}, b1={100: [0.74, 0.76]}, b2={100: [0.70, 0.74]}, untrained={100: [0.5, 0.5]},
    )  # fmt: skip
    groups = {"A": ["a0", "a1", "a2"], "B": ["b0", "b1", "b2"]}
    (sentence,) = group_sentences(
        table, groups, dict(zip(["a0", "a1", "a2", "b2", "b0", "b1"], [0, 1, 2] * 2, strict=True))
    )
    a, b = np.array([82, 86, 83.0]), np.array([72, 71, 75.0])  # b in the order of the seeds
    gain, half = interval(a - b)
    mean, spread = interval(a)
    assert sentence == (
        f"Support vector machine, 100 labels: A has the highest balanced accuracy, {mean:.1f} ± {spread:.1f}%; "
        f"+{gain:.1f} ± {half:.1f} points over B, paired by seed; +{mean - 50:.1f} points over untrained (no "
        "interval), unpaired. Intervals are over pretraining runs."
    )
    gain, half = welch(a, b)
    (sentence,) = group_sentences(table, groups, {"a0": 0, "a1": 1, "a2": 2, "b0": 3, "b1": 4, "b2": 5})
    assert f"+{gain:.1f} ± {half:.1f} points over B, unpaired" in sentence


def test_groups_of_unequal_length_are_unpaired_and_named_by_their_methods():
    def context(method):
        return SimpleNamespace(description={"method": method})

    contexts = {"x": context("simclr"), "y": context("simclr"), "z": context("rotnet")}
    assert named_groups([["x", "y"], ["z"]], contexts) == {"simclr (2 runs)": ["x", "y"], "rotnet (1 run)": ["z"]}
    contexts["z"] = context("simclr")
    groups = named_groups([["x", "y"], ["z"]], contexts)
    assert groups == {"x and 1 more": ["x", "y"], "z": ["z"]}
    table = efficiency(x={100: [0.8, 0.84]}, y={100: [0.7, 0.7]}, z={100: [0.6, 0.6]}, untrained={100: [0.5, 0.5]})
    (sentence,) = group_sentences(table, groups, {"x": 0, "y": 1, "z": 0})
    assert "over z (no interval), unpaired" in sentence
    means = group_means(table, groups)
    assert means[means["source"] == "x and 1 more"]["balanced_accuracy"].tolist() == pytest.approx([0.82, 0.7])
    assert group_table(means, "svc").rows == [["100", "76.0 ± 76.2", "60.0", "50.0"]]  # 12.706 × 8.485 / √2


def test_a_comparison_of_groups_has_a_curve_and_a_column_per_group(folder, settings, new_run, blank_figures):
    new_run("other")
    new_run("third")
    runs = [[str(folder / "run"), str(folder / "other")], [str(folder / "third")]]
    compare(settings() | {"run": runs}, folder / "comparison")
    page = (folder / "comparison" / "report.html").read_text()
    assert "3 networks on 2 classes unseen in pretraining" in page
    assert "mean over pretraining runs ± 95% interval over runs" in page
    assert "Intervals are over pretraining runs." in page
    assert "run and 1 more" in page
    assert set(pd.read_csv(folder / "comparison" / "label_efficiency.csv")["source"]) == {
        "run",
        "other",
        "third",
        "untrained",
    }
