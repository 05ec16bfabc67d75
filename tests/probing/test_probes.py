"""Probes, compared with plain loops and on embeddings whose accuracy is known."""

import math

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from fewlabels.core.errors import UserError
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.probes import (
    PROBES,
    check_probe,
    knn_accuracy,
    linear_accuracy,
    pixel_components,
    probe_accuracy,
)


def embeddings(vectors, labels):
    return Embeddings(np.asarray(vectors, np.float32), np.asarray(labels, np.int64), np.arange(len(labels)))


def clouds(seed, n=40, spread=0.1):
    """Three classes that differ in direction, with random lengths."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    vectors = np.eye(3)[labels] + spread * rng.normal(size=(n, 3))
    return embeddings(vectors * rng.uniform(0.1, 10, size=(n, 1)), labels)


def test_knn_accuracy_of_separable_classes_is_one():
    assert knn_accuracy(clouds(0), clouds(1), neighbours=5) == 1.0


def knn_by_loops(train, test, k):
    correct = 0
    for vector, label in zip(test.vectors, test.labels, strict=True):
        cosine = [v @ vector / np.linalg.norm(v) / np.linalg.norm(vector) for v in train.vectors]
        votes = train.labels[np.argsort(cosine)[::-1][:k]].tolist()
        correct += max(sorted(set(votes)), key=votes.count) == label
    return correct / len(test.labels)


@pytest.mark.parametrize("neighbours", [1, 5, 20])
def test_knn_accuracy_equals_plain_loops(neighbours):
    train, test = clouds(0, spread=1.0), clouds(1, n=60, spread=1.0)
    accuracy = knn_accuracy(train, test, neighbours=neighbours)
    assert accuracy == pytest.approx(knn_by_loops(train, test, neighbours))
    assert 0.3 < accuracy < 1


def ridge_by_normal_equations(train, test):
    """Ridge regression onto ±1 targets with penalty N, of standardised embeddings."""
    mean, std = train.vectors.mean(0, dtype=np.float64), train.vectors.std(0, dtype=np.float64)
    x, other = (train.vectors - mean) / std, (test.vectors - mean) / std
    targets = np.where(train.labels[:, None] == np.unique(train.labels), 1.0, -1.0)
    weights = np.linalg.solve(x.T @ x + len(x) * np.eye(x.shape[1]), x.T @ (targets - targets.mean(0)))
    return float(((other @ weights + targets.mean(0)).argmax(1) == test.labels).mean())


def test_linear_accuracy_equals_the_normal_equations():
    train, test = clouds(0, spread=1.0), clouds(1, n=60, spread=1.0)
    assert linear_accuracy(train, test) == pytest.approx(ridge_by_normal_equations(train, test))


@pytest.mark.parametrize("accuracy", [knn_accuracy, linear_accuracy])
def test_unlabelled_samples_are_left_out_of_training_and_test(accuracy):
    train, test = clouds(0, spread=0.5), clouds(1, spread=0.5)
    unlabelled = np.full(40, -1)
    more = embeddings(np.concatenate([train.vectors, test.vectors]), np.r_[train.labels, unlabelled])
    tested = embeddings(np.concatenate([test.vectors, test.vectors]), np.r_[test.labels, unlabelled])
    assert accuracy(more, tested) == accuracy(train, test)


def test_k_is_reduced_to_the_number_of_training_samples():
    train = embeddings([[1, 0], [1, 0.1], [0, 1]], [0, 0, 1])
    assert knn_accuracy(train, embeddings([[0, 1], [1, 0]], [1, 0]), neighbours=20) == 0.5


@pytest.mark.parametrize("accuracy", [knn_accuracy, linear_accuracy])
def test_accuracy_is_nan_without_labels_or_with_one_class(accuracy):
    unlabelled, one_class = embeddings(np.ones((4, 3)), [-1] * 4), embeddings(np.ones((4, 3)), [0] * 4)
    assert math.isnan(accuracy(unlabelled, clouds(0)))
    assert math.isnan(accuracy(clouds(0), unlabelled))
    assert math.isnan(accuracy(one_class, one_class))


@pytest.mark.parametrize("probe", PROBES)
def test_probe_accuracy_is_balanced_over_the_classes_of_the_test_set(probe):
    train, test = clouds(0, n=90, spread=0.5), clouds(1, n=90, spread=0.5)
    rows = np.flatnonzero((test.labels == 0) | ((test.labels == 1) & (np.arange(90) < 12)))  # no sample of class 2
    test = test.select(rows)
    recalls = [probe_accuracy(train, test.select(test.labels == label), probe) for label in (0, 1)]
    assert probe_accuracy(train, test, probe) == pytest.approx(np.mean(recalls))
    assert len(set(recalls)) == 2, "classes should differ in recall"


def test_the_knn_probe_standardises_and_takes_five_neighbours():
    train, test = clouds(0, n=90, spread=0.5), clouds(1, n=60, spread=0.5)
    std = train.vectors.std(0)
    predicted = []
    for vector in test.vectors:
        distances = np.linalg.norm((train.vectors - vector) / std, axis=1)
        votes = train.labels[np.argsort(distances)[:5]].tolist()
        predicted.append(max(sorted(set(votes)), key=votes.count))
    assert probe_accuracy(train, test, "knn") == pytest.approx(balanced_accuracy_score(test.labels, predicted))


def test_an_unknown_probe_is_rejected():
    with pytest.raises(UserError, match=r"probes: 'forest' is unknown\. Choose from linear, svc, knn"):
        probe_accuracy(clouds(0), clouds(1), "forest")


def test_data_that_a_probe_cannot_use_are_rejected():
    one_class, unlabelled = embeddings(np.ones((40, 3)), [0] * 40), embeddings(np.ones((40, 3)), [-1] * 40)
    with pytest.raises(UserError, match=r"at least 2 classes; there are 1\. .*data\.label_fraction"):
        check_probe(one_class, one_class, 30)
    with pytest.raises(UserError, match=r"budgets: 2 labels are fewer than the 3 classes"):
        check_probe(clouds(0), clouds(1), 2)
    with pytest.raises(UserError, match=r"labelled test samples; there are none\. .*data\.test_fraction"):
        check_probe(clouds(0), unlabelled, 30)
    check_probe(clouds(0), clouds(1), 3)


@pytest.mark.parametrize("part", ["train", "test"])
def test_embeddings_that_are_not_finite_are_rejected(part):
    parts = {"train": clouds(0), "test": clouds(1)}
    parts[part].vectors[3] = np.nan
    with pytest.raises(UserError, match="1 of 40 embeddings are not finite: the training diverged"):
        check_probe(**parts, labels=30)


def test_pixel_components_are_fitted_to_the_training_images_only():
    rng = np.random.default_rng(0)
    train, other = (rng.integers(0, 256, (40, 1, 8, 8), np.uint8) for _ in range(2))
    alone = pixel_components(train, other[:5], count=4)[0]
    together = pixel_components(train, other, count=4)[0]
    assert alone.shape == (5, 4)
    np.testing.assert_allclose(alone, together[:5], rtol=1e-4, atol=1e-4)
