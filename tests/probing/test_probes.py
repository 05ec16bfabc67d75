"""Probes, compared with plain loops and on embeddings whose accuracy is known."""

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fewlabels.core.errors import UserError
from fewlabels.probing.classification_metrics import balanced_accuracy
from fewlabels.probing.classifiers import FIXED_C, REGULARISATION, choose_c, predict
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.probes import (
    PROBES,
    check_probe,
    knn_accuracy,
    linear_accuracy,
    pixel_components,
)


def probe_accuracy(train, test, probe):
    """Balanced accuracy of a probe that is fitted to all of `train`."""
    return balanced_accuracy(test.labels, predict(probe, train.vectors, train.labels, test.vectors))


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


def test_knn_of_one_dimension_is_by_distance():
    """The cosine of two numbers is the sign of their product."""
    rng = np.random.default_rng(0)
    train, test = ((labels := np.arange(90) % 3, labels + 5 + 0.05 * rng.normal(size=90)) for _ in range(2))
    accuracy = knn_accuracy(*(embeddings(x[:, None], labels) for labels, x in (train, test)))
    assert accuracy == 1


def logistic_by_descent(x, y, c):
    """Multinomial logistic regression with penalty |W|²/2C, unpenalised intercepts, by plain gradient descent."""
    x1 = np.c_[x, np.ones(len(x))]
    weights, targets = np.zeros((x1.shape[1], y.max() + 1)), np.eye(y.max() + 1)[y]
    rate = 1 / (0.5 * np.linalg.norm(x1, 2) ** 2 + 1 / c)
    for _ in range(20000):
        scores = np.exp(x1 @ weights - (x1 @ weights).max(1, keepdims=True))
        penalty = np.r_[weights[:-1], np.zeros((1, weights.shape[1]))] / c
        weights -= rate * (x1.T @ (scores / scores.sum(1, keepdims=True) - targets) + penalty)
    return weights


@pytest.mark.parametrize("dims", [3, 60], ids=["many samples", "more dimensions than samples"])
def test_the_linear_probe_is_a_logistic_regression_on_standardised_embeddings(dims):
    rng = np.random.default_rng(1)
    labels = np.arange(48) % 3
    centres = rng.normal(size=(3, dims))
    train, test = (embeddings(centres[labels] * 0.7 + rng.normal(size=(48, dims)), labels) for _ in range(2))
    mean, std = train.vectors.mean(0, dtype=np.float64), train.vectors.std(0, dtype=np.float64)
    x, other = (train.vectors - mean) / std, (test.vectors - mean) / std
    weights = logistic_by_descent(x, labels, choose_c(x, labels))
    predicted = (np.c_[other, np.ones(48)] @ weights).argmax(1)
    assert np.mean(predict("linear", train.vectors, labels, test.vectors) == predicted) >= 47 / 48  # ties by rounding
    assert linear_accuracy(train, test) == pytest.approx((predicted == labels).mean(), abs=1 / 48)


def test_c_is_chosen_by_cross_validation():
    """Strong regularisation for noise, none needed for clear classes; fixed where labels do not suffice."""
    rng = np.random.default_rng(2)
    labels = np.arange(60) % 3
    noise = rng.normal(size=(60, 20))
    assert choose_c(noise, labels) <= 0.01
    assert choose_c(np.eye(3)[labels] * 10 + 0.1 * noise[:, :3], labels) == max(REGULARISATION)
    assert choose_c(noise[:4], np.array([0, 0, 1, 2])) == FIXED_C
    rare = np.where(np.arange(60) == 7, 3, labels)  # a class with one label is never validated
    assert choose_c(noise, rare) <= 0.01


def test_c_is_that_of_the_smallest_loss_of_three_folds_in_plain_loops():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 45)
    x = np.eye(3)[labels] + 0.8 * rng.normal(size=(45, 3))
    fold, seen = np.empty(45, int), 0
    for label in range(3):
        for row in np.flatnonzero(labels == label):
            fold[row], seen = seen % 3, seen + 1
    losses = []
    for c in REGULARISATION:
        loss = 0.0
        for k in range(3):
            model = LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit(x[fold != k], labels[fold != k])
            loss -= sum(np.log(model.predict_proba(x[[row]])[0, labels[row]]) for row in np.flatnonzero(fold == k))
        losses.append(loss)
    assert choose_c(x, labels) == REGULARISATION[int(np.argmin(losses))]


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


def test_probes_online_and_afterwards_are_the_same():
    """On classes of equal size, accuracy and balanced accuracy agree."""
    train, test = clouds(0, n=90, spread=0.5), clouds(1, n=60, spread=0.5)
    assert probe_accuracy(train, test, "knn") == pytest.approx(knn_accuracy(train, test))
    assert probe_accuracy(train, test, "linear") == pytest.approx(linear_accuracy(train, test))


@pytest.mark.parametrize("probe", PROBES)
def test_one_class_of_labels_is_predicted_everywhere(probe):
    assert predict(probe, np.eye(3), np.array([2, 2, 2]), np.ones((4, 3))).tolist() == [2] * 4


def test_an_unknown_probe_is_rejected():
    with pytest.raises(UserError, match=r"probes: 'forest' is unknown\. Choose from linear, svc, knn"):
        probe_accuracy(clouds(0), clouds(1), "forest")


def test_data_that_a_probe_cannot_use_are_rejected():
    one_class, unlabelled = embeddings(np.ones((40, 3)), [0] * 40), embeddings(np.ones((40, 3)), [-1] * 40)
    with pytest.raises(UserError, match=r"at least 2 classes; there are 1\. .*data\.label_fraction"):
        check_probe(one_class, one_class, 30)
    with pytest.raises(UserError, match=r"budgets: 2 labels are fewer than the 3 that draws=balanced needs"):
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
    alone = pixel_components(train, [other[:5]], count=4)[0]
    together = pixel_components(train, [other[:3], other[3:]], count=4)[0]
    assert alone.shape == (5, 4)
    np.testing.assert_allclose(alone, together[:5], rtol=1e-4, atol=1e-4)
