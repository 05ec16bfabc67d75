"""The classifier of predictions: novelty, unknown images, bootstraps; and counts with their intervals."""

import numpy as np
import pytest

from fewlabels.core.errors import UserError
from fewlabels.labelling.classifier import Classifier, check_names
from fewlabels.labelling.counts import class_counts
from fewlabels.probing.propagation import neighbour_graph, spread
from fewlabels.probing.selection import neighbour_space


def scene(sizes, spread=0.5, seed=0):
    """Points around as many directions as there are sizes, and their classes."""
    draw = np.random.default_rng(seed)
    classes = np.repeat(np.arange(len(sizes)), sizes)
    vectors = 3 * np.eye(8)[classes] + spread * draw.normal(size=(len(classes), 8))
    return neighbour_space(vectors), classes


def make(points, rows, labels, classes, **more):
    return Classifier(points, neighbour_graph(points), rows, labels, classes, **more)


@pytest.fixture
def classifier():
    points, classes = scene([60, 40, 20])
    rows = np.array([0, 1, 2, 3, 4, 60, 61, 62, 63, 100, 101, 102])
    return make(points, rows, classes[rows], 3)


def test_novelty_is_the_distance_to_the_nearest_label(classifier):
    distances = np.linalg.norm(classifier.points[:, None] - classifier.points[classifier.rows][None], axis=2).min(1)
    np.testing.assert_allclose(classifier.novelty, distances, atol=2e-3)
    points, classes = scene([60, 40, 20])
    rows = np.array([0, 1, 2, 60, 61])  # none of the third class
    without = make(points, rows, classes[rows], 2)
    assert without.novelty[classes == 2].min() > without.novelty[classes != 2].max()


def leave_out(sizes, per_class, **more):
    """Labels of all classes but the last, and the class of every image."""
    points, classes = scene(sizes, spread=1.0)
    rows = np.concatenate([np.flatnonzero(classes == k)[:per_class] for k in range(len(sizes) - 1)])
    return make(points, rows, classes[rows], len(sizes) - 1, **more), classes


def test_as_many_labels_are_beyond_the_threshold_as_are_asked_for_and_only_unlabelled_images_are_unknown():
    classifier, classes = leave_out([300, 300, 100], 50, unknown=0.1)
    distances = np.linalg.norm(classifier.points[classifier.rows][:, None] - classifier.points[classifier.rows], axis=2)
    np.fill_diagonal(distances, 9)
    np.testing.assert_allclose(classifier.label_novelty, distances.min(1), atol=2e-3)
    assert (classifier.label_novelty > classifier.threshold).sum() == 10
    assert not classifier.is_unknown[classifier.rows].any()
    assert classifier.is_unknown[classes == 2].mean() > 0.9
    others = np.setdiff1d(np.flatnonzero(classes < 2), classifier.rows)
    assert 0.03 < classifier.is_unknown[others].mean() < 0.2  # 10% expected of labels chosen at random


def test_no_image_is_unknown_without_a_share_or_with_few_labels():
    assert not leave_out([100, 100, 50], 50)[0].is_unknown.any()
    assert not leave_out([100, 100, 50], 9, unknown=0.1)[0].is_unknown.any()
    assert leave_out([100, 100, 50], 10, unknown=0.1)[0].is_unknown.any()


def test_a_class_cannot_be_called_as_unknown_images_are():
    check_names(["a", "unknown"], None)
    with pytest.raises(UserError, match="unknown=null"):
        check_names(["a", "Unknown "], 0.1)


def test_images_of_a_class_without_labels_are_counted_apart_and_not_to_the_others():
    classifier, classes = leave_out([300, 200, 100], 50, unknown=0.1)
    rows = {"all": np.arange(600), "old": np.flatnonzero(classes < 2)}
    table = class_counts(classifier, rows, ["a", "b"], shifted=False, repeats=20).set_index(["sample", "class"])
    assert table.loc["all"].index.tolist() == ["a", "b", "unknown"]
    assert table.loc[("all", "unknown"), "expected"] == pytest.approx(100, abs=40)
    assert table.loc[("old", "unknown"), "low"] < 10 < 40 < table.loc[("old", "unknown"), "raw"]  # many were expected
    assert table.loc["all"]["raw"].sum() == 600
    assert table.loc["all"]["expected"].sum() == pytest.approx(600, abs=0.2)
    without, _ = leave_out([300, 200, 100], 50)
    wrong = class_counts(without, rows, ["a", "b"], shifted=False, repeats=3).set_index(["sample", "class"])
    truth = np.array([300, 200])
    errors = [np.abs(t.loc["all"]["expected"][["a", "b"]] - truth).sum() for t in (table, wrong)]
    assert errors[0] < errors[1] / 2


def test_bootstraps_use_drawn_labels_alone_and_are_the_same_every_time(classifier):
    first, second = ([*classifier.bootstraps(5)] for _ in range(2))
    for (one, drawn), (other, _) in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
        rows, labels = classifier.rows[drawn], classifier.labels[drawn]
        np.testing.assert_array_equal(one, spread(classifier.graph, rows, labels, 3))
        assert len(drawn) == 12


def test_counts_are_labels_and_the_sum_of_probabilities(classifier):
    samples = {"half": np.arange(60), "all": np.arange(120)}
    table = class_counts(classifier, samples, ["a", "b", "c"], shifted=False, repeats=40)
    assert [*table["sample"]] == ["half"] * 3 + ["all"] * 3
    assert [*table["labelled"]] == [5, 0, 0, 5, 4, 3]
    assert [*table["raw"][3:]] == [60, 40, 20]
    free = np.setdiff1d(np.arange(120), classifier.rows)
    expected = classifier.probabilities[free].sum(0) + np.array([5, 4, 3])
    np.testing.assert_allclose(table["expected"][3:].astype(float), expected, atol=0.05)
    assert table.groupby("sample")["expected"].sum().to_dict() == pytest.approx({"all": 120, "half": 60}, abs=0.2)
    assert (table["low"] <= table["expected"]).all()
    assert (table["expected"] <= table["high"]).all()


def test_counts_elsewhere_follow_shares_that_differ_from_those_of_the_labels():
    """Classes that overlap, in equal parts where they are labelled and 9 to 1 where they are counted."""
    draw = np.random.default_rng(0)
    classes = np.concatenate([np.repeat([0, 1], [100, 100]), np.repeat([0, 1], [270, 30])])
    vectors = np.c_[np.where(classes, 1.5, -1.5), np.zeros((500, 3))] + draw.normal(size=(500, 4))
    rows = np.arange(0, 200, 4)
    classifier = make(neighbour_space(vectors), rows, classes[rows], 2)
    table = class_counts(classifier, {"all": np.arange(200, 500)}, ["a", "b"], shifted=True, repeats=20)
    naive = class_counts(classifier, {"all": np.arange(200, 500)}, ["a", "b"], shifted=False, repeats=20)
    assert abs(table["expected"][1] - 30) < abs(table["raw"][1] - 30) < abs(naive["expected"][1] - 30)
    assert table["low"][1] <= 30 <= table["high"][1]


def test_a_sample_of_labels_alone_is_known(classifier):
    table = class_counts(classifier, {"known": classifier.rows}, ["a", "b", "c"], shifted=False, repeats=3)
    assert [*table["raw"]] == [*table["expected"]] == [*table["low"]] == [*table["high"]] == [5, 4, 3]
