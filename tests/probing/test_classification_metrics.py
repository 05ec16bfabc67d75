"""Metrics of a classifier, compared with scikit-learn and plain loops."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score

from fewlabels.probing.classification_metrics import BINS, Predictions, balanced_accuracy, confusion, scores


def predictions(classes=4, count=200, absent=False):
    random = torch.Generator().manual_seed(1)
    labels = torch.randint(0, classes - absent, (count,), generator=random)
    logits = torch.randn(count, classes, generator=random) + 2 * torch.nn.functional.one_hot(labels, classes)
    return Predictions(logits, labels, torch.arange(count))


def calibration_error_by_loops(probabilities, labels):
    confidence, predicted = probabilities.max(1), probabilities.argmax(1)
    total = 0.0
    for low, high in zip(np.arange(BINS) / BINS, np.arange(1, BINS + 1) / BINS, strict=True):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            accuracy = (predicted[inside] == labels[inside]).mean()
            total += inside.mean() * abs(confidence[inside].mean() - accuracy)
    return total


@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_scores_equal_scikit_learns(absent):
    given = predictions(absent=absent)
    labels, predicted = given.labels.numpy(), given.logits.argmax(1).numpy()
    measured = {name: float(value) for name, value in scores(given).items()}
    assert measured["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert measured["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert measured["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    expected = calibration_error_by_loops(given.logits.softmax(1).numpy(), labels)
    assert measured["calibration_error"] == pytest.approx(expected, abs=1e-5)
    assert np.array_equal(confusion(given).numpy(), confusion_matrix(labels, predicted, labels=range(4)))


def test_a_perfect_classifier_has_perfect_scores():
    labels = torch.arange(6) % 3
    measured = scores(Predictions(100 * torch.nn.functional.one_hot(labels).float(), labels, torch.arange(6)))
    assert {name: round(float(value), 6) for name, value in measured.items()} == {
        "accuracy": 1, "balanced_accuracy": 1, "macro_f1": 1, "calibration_error": 0,
    }  # fmt: skip


def test_balanced_accuracy_is_the_mean_recall_of_the_classes_that_occur():
    labels, predicted = np.array([0, 0, 0, 0, 2, 2]), np.array([0, 0, 0, 1, 2, 1])
    assert balanced_accuracy(labels, predicted) == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_scores_are_float32_scalars():
    assert all(value.shape == () and value.dtype == torch.float32 for value in scores(predictions()).values())
