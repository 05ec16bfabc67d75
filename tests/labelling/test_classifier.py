"""The classifier of predictions: novelty, held-out labels, bootstraps; and counts with their intervals."""

import numpy as np
import pytest

from fewlabels.labelling.classifier import Classifier
from fewlabels.labelling.counts import class_counts
from fewlabels.probing.selection import neighbour_space


def scene(sizes, spread=0.5, seed=0):
    """Points around as many directions as there are sizes, and their classes."""
    draw = np.random.default_rng(seed)
    classes = np.repeat(np.arange(len(sizes)), sizes)
    vectors = 3 * np.eye(8)[classes] + spread * draw.normal(size=(len(classes), 8))
    return neighbour_space(vectors), classes


@pytest.fixture
def classifier():
    points, classes = scene([60, 40, 20])
    rows = np.array([0, 1, 2, 3, 4, 60, 61, 62, 63, 100, 101, 102])
    return Classifier(points, rows, classes[rows], 3)


def test_novelty_is_the_distance_to_the_nearest_label(classifier):
    distances = np.linalg.norm(classifier.points[:, None] - classifier.points[classifier.rows][None], axis=2).min(1)
    np.testing.assert_allclose(classifier.novelty, distances, atol=2e-3)
    points, classes = scene([60, 40, 20])
    rows = np.array([0, 1, 2, 60, 61])  # none of the third class
    without = Classifier(points, rows, classes[rows], 2)
    assert without.novelty[classes == 2].min() > without.novelty[classes != 2].max()


def test_labels_that_others_tell_are_held_out_correctly(classifier):
    correct, share = classifier.held_out_accuracy()
    assert correct == 12
    assert (share.mean, share.high) == (1.0, 1.0)
    assert 0.7 < share.low < 0.8  # Wilson's interval of 12 in 12 begins at 0.757
    few = Classifier(classifier.points, classifier.rows[:9], classifier.labels[:9], 3)
    assert few.held_out_accuracy() is None


def test_bootstraps_use_drawn_labels_alone_and_are_the_same_every_time(classifier):
    first, second = ([*classifier.bootstraps(5)] for _ in range(2))
    for (one, drawn), (other, _) in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
        assert set(one.argmax(1)) <= set(drawn)
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
    classifier = Classifier(neighbour_space(vectors), rows, classes[rows], 2)
    table = class_counts(classifier, {"all": np.arange(200, 500)}, ["a", "b"], shifted=True, repeats=20)
    naive = class_counts(classifier, {"all": np.arange(200, 500)}, ["a", "b"], shifted=False, repeats=20)
    assert abs(table["expected"][1] - 30) < abs(table["raw"][1] - 30) < abs(naive["expected"][1] - 30)
    assert table["low"][1] <= 30 <= table["high"][1]


def test_a_sample_of_labels_alone_is_known(classifier):
    table = class_counts(classifier, {"known": classifier.rows}, ["a", "b", "c"], shifted=False, repeats=3)
    assert [*table["raw"]] == [*table["expected"]] == [*table["low"]] == [*table["high"]] == [5, 4, 3]
