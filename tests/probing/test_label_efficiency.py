"""Label budgets, balanced subsets, and accuracy from few labels on embeddings whose accuracy is known."""

import itertools
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewlabels.core.errors import UserError
from fewlabels.probing import label_efficiency as module
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.intervals import interval
from fewlabels.probing.label_efficiency import (
    draw,
    few_label_accuracy,
    label_budgets,
    label_efficiency,
    stratified_draw,
)
from fewlabels.probing.probes import PROBES


def embeddings(vectors, labels):
    return Embeddings(np.asarray(vectors, np.float32), np.asarray(labels, np.int64), np.arange(len(labels)))


def clouds(seed, n=40, spread=0.1):
    """Three classes that differ in direction, with random lengths."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    vectors = np.eye(3)[labels] + spread * rng.normal(size=(n, 3))
    return embeddings(vectors * rng.uniform(0.1, 10, size=(n, 1)), labels)


@pytest.mark.parametrize("probe", PROBES)
def test_separable_classes_are_predicted_from_few_labels(probe):
    labels = np.arange(90) % 3
    train, test = (
        embeddings(10 * np.eye(3)[labels] + np.random.default_rng(seed).normal(size=(90, 3)), labels) for seed in (0, 1)
    )
    assert few_label_accuracy(train, test, probe=probe, labels=30, repeats=3) == pytest.approx(1)


@pytest.mark.parametrize("probe", PROBES)
def test_shuffled_labels_give_the_chance_level(probe):
    train, test = clouds(0, n=600), clouds(1, n=600)
    shuffled = embeddings(train.vectors, np.random.default_rng(2).permutation(train.labels))
    found = interval(few_label_accuracy(shuffled, test, probe=probe, labels=120, repeats=12))
    assert abs(found.mean - 1 / 3) < max(found.high - found.low, 0.02)


def test_results_depend_on_the_seed_only():
    sources = {"a": (clouds(0, spread=1.0, n=200), clouds(1, spread=1.0, n=100))}
    one, two, other = (label_efficiency(sources, budgets=[30, 100], repeats=2, seed=seed) for seed in (0, 0, 1))
    assert one.equals(two)
    assert not one.equals(other)


@pytest.mark.parametrize("probe", PROBES)
def test_unlabelled_test_samples_influence_neither_scaler_nor_fit(probe):
    train, test = clouds(0, spread=0.8, n=90), clouds(1, spread=0.8, n=60)
    far = embeddings(np.concatenate([test.vectors, 1e6 * np.ones((60, 3))]), np.r_[test.labels, np.full(60, -1)])
    plain = few_label_accuracy(train, test, probe=probe, labels=60, repeats=3)
    assert few_label_accuracy(train, far, probe=probe, labels=60, repeats=3) == pytest.approx(plain)
    assert plain.max() < 1, "classes should overlap"


def test_sources_share_labels_and_budgets_are_nested(monkeypatch):
    drawn = []

    def scores(sources, labels, tested, tasks):
        drawn.extend(rows for rows, _ in tasks)
        return [[0.5] * len(sources) for _ in tasks]

    monkeypatch.setattr(module, "probe_scores", scores)
    train, test = clouds(0, n=100), clouds(1, n=30)
    table = label_efficiency({"a": (train, test), "b": (train, test)}, budgets=[10, 50], probes=["knn"], repeats=1)
    assert len(table) == 4
    large, small = drawn  # each once, for both sources
    assert len(small) == 10
    assert set(small) < set(large)
    assert len(large) == 50


def test_the_table_has_every_combination_and_all_labels_once():
    source = (clouds(0, n=60), clouds(1, n=30))
    table = label_efficiency({"a": source, "b": source}, budgets=[30, 60], probes=["knn", "svc"], repeats=3)
    assert list(table.columns) == ["source", "probe", "labels", "repeat", "balanced_accuracy"]
    counts = table.groupby(["source", "probe", "labels"])["repeat"].apply(list)
    assert len(counts) == 8
    assert all(repeats == ([0, 1, 2] if labels == 30 else [0]) for (_, _, labels), repeats in counts.items())
    few = few_label_accuracy(*source, probe="svc", labels=30, repeats=3)
    rows = table[(table["source"] == "b") & (table["probe"] == "svc") & (table["labels"] == 30)]
    assert rows["balanced_accuracy"].tolist() == few.tolist()


def test_sources_of_different_images_are_an_error():
    sources = {"a": (clouds(0, n=60), clouds(1)), "b": (clouds(0, n=57), clouds(1))}
    with pytest.raises(AssertionError, match="same images"):
        label_efficiency(sources)


def test_data_that_probes_cannot_use_are_rejected():
    one_class = embeddings(np.ones((40, 3)), [0] * 40)
    with pytest.raises(UserError, match="at least 2 classes; there are 1"):
        few_label_accuracy(one_class, one_class, probe="svc", labels=30)
    diverged = clouds(0)
    diverged.vectors[3] = np.nan
    with pytest.raises(UserError, match="1 of 40 embeddings are not finite"):
        few_label_accuracy(diverged, clouds(1), probe="svc", labels=30)
    with pytest.raises(UserError, match="1 of 40 embeddings are not finite"):
        label_efficiency({"a": (clouds(0), clouds(1)), "b": (diverged, clouds(1))})


few_examples = settings(max_examples=25, deadline=None, derandomize=True)
class_labels = st.lists(st.integers(-1, 4), min_size=1, max_size=60).map(np.array)


@few_examples
@given(labels=class_labels, small=st.integers(0, 70), large=st.integers(0, 70), seed=st.integers(0, 1000))
def test_small_draws_are_prefixes_of_larger_ones(labels, small, large, seed):
    small, large = sorted((small, large))
    drawn = stratified_draw(labels, large, seed=seed)
    assert np.array_equal(stratified_draw(labels, small, seed=seed), drawn[:small])


@few_examples
@given(labels=class_labels, count=st.integers(0, 70), seed=st.integers(0, 1000))
def test_draws_are_balanced_labelled_and_without_repetition(labels, count, seed):
    drawn = stratified_draw(labels, count, seed=seed)
    assert drawn.dtype == np.int64
    assert len(drawn) == len(set(drawn)) == min(count, int((labels >= 0).sum()))
    assert np.all(labels[drawn] >= 0)
    counts = {c: int((labels[drawn] == c).sum()) for c in np.unique(labels[labels >= 0])}
    incomplete = [number for c, number in counts.items() if number < (labels == c).sum()]
    if incomplete:  # classes that have more samples differ by one at most, and no class has more
        assert max(incomplete) - min(incomplete) <= 1
        assert max(counts.values()) <= min(incomplete) + 1


def test_a_draw_takes_all_samples_of_small_classes():
    labels = np.r_[np.zeros(100, np.int64), np.ones(10, np.int64), np.full(20, -1)]
    drawn = stratified_draw(labels, 30, seed=0)
    assert np.bincount(labels[drawn]).tolist() == [20, 10]
    assert not np.array_equal(drawn, stratified_draw(labels, 30, seed=1))


def test_budgets_increase_in_steps_up_to_all_labels():
    assert label_budgets(250, 3) == [30, 40, 50, 60, 70, 80, 90, 100, 200, 250]
    assert label_budgets(3000, 60)[0] == 200


@pytest.mark.parametrize(("total", "classes", "smallest"), [(25, 3, 30), (30, 3, 30), (150, 60, 200)])
def test_too_few_labels_for_a_curve_are_rejected(total, classes, smallest):
    with pytest.raises(UserError, match=rf"{total} labelled images of {classes} .* more than {smallest} labels"):
        label_budgets(total, classes)
    assert label_budgets(smallest + 1, classes) == [smallest, smallest + 1]


@few_examples
@given(labels=class_labels, small=st.integers(0, 70), large=st.integers(0, 70), seed=st.integers(0, 1000))
def test_random_draws_are_nested_labelled_and_without_repetition(labels, small, large, seed):
    small, large = sorted((small, large))
    drawn = draw(labels, large, seed=seed, draws="random")
    assert np.array_equal(draw(labels, small, seed=seed, draws="random"), drawn[:small])
    assert len(drawn) == len(set(drawn)) == min(large, int((labels >= 0).sum()))
    assert np.all(labels[drawn] >= 0)


def test_random_draws_have_the_class_sizes_of_the_pool_and_balanced_ones_equal_sizes():
    labels = np.r_[np.zeros(800, np.int64), np.ones(200, np.int64)]
    shares = {draws: np.mean([labels[draw(labels, 50, seed=k, draws=draws)].mean() for k in range(200)])
              for draws in ("random", "balanced")}  # fmt: skip
    assert shares["balanced"] == 0.5
    assert shares["random"] == pytest.approx(0.2, abs=0.02)  # standard error 0.004


@pytest.mark.parametrize("probe", PROBES)
def test_a_random_draw_of_one_class_predicts_that_class(probe):
    train, test = clouds(0, n=60), clouds(1, n=60)
    scores = few_label_accuracy(train, test, probe=probe, labels=1, repeats=2)
    assert scores == pytest.approx([1 / 3] * 2)
    with pytest.raises(UserError, match=r"budgets: 1 labels are fewer than the 3 that draws=balanced needs"):
        few_label_accuracy(train, test, probe=probe, labels=1, draws="balanced")


def test_an_unknown_kind_of_draws_is_rejected():
    with pytest.raises(UserError, match=r"draws=5 is unknown\. Choose from random, balanced"):
        label_efficiency({"a": (clouds(0), clouds(1))}, budgets=[10], draws=5)


def test_svc_and_knn_get_at_most_max_labels():
    source = (clouds(0, n=200), clouds(1, n=30))
    table = label_efficiency({"a": source}, budgets=[30, 60, 200], repeats=2, max_labels=50)
    found = {
        probe: sorted(set(zip(rows["labels"], rows["repeat"], strict=True))) for probe, rows in table.groupby("probe")
    }
    pairs = list(itertools.product([30, 50], [0, 1]))
    assert found["svc"] == found["knn"] == pairs
    assert found["linear"] == [*itertools.product([30, 60], [0, 1]), (200, 0)]


@pytest.mark.subprocess
def test_results_do_not_depend_on_the_number_of_processes(caplog, monkeypatch):
    monkeypatch.setattr(module, "SAID_ABOVE", 0.0)
    source = (clouds(0, spread=1.0, n=200), clouds(1, spread=1.0, n=100))
    options = {"budgets": [30, 60, 200], "repeats": 2, "draws": "balanced"}
    with caplog.at_level(logging.INFO, "fewlabels"):
        one, two = (label_efficiency({"a": source}, **options, n_jobs=jobs) for jobs in (1, 2))
    assert one.equals(two)
    assert "5 draws of labels take about a minute on 2 of" in caplog.text
