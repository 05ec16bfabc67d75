"""What is measured of a classifier, against scikit-learn and plain loops."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score

from fewlabels.metrics import BINS, Answers, confusion, scores


def answers(classes=4, count=200, absent=False):
    random = torch.Generator().manual_seed(1)
    truth = torch.randint(0, classes - absent, (count,), generator=random)
    logits = torch.randn(count, classes, generator=random) + 2 * torch.nn.functional.one_hot(truth, classes)
    return Answers(logits, truth, torch.arange(count))


def calibration_error_by_loops(probabilities, truth):
    confidence, told = probabilities.max(1), probabilities.argmax(1)
    total = 0.0
    for low, high in zip(np.arange(BINS) / BINS, np.arange(1, BINS + 1) / BINS, strict=True):
        own = (confidence > low) & (confidence <= high)
        if own.any():
            total += own.mean() * abs(confidence[own].mean() - (told[own] == truth[own]).mean())
    return total


@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_scores_are_those_of_scikit_learn(absent):
    given = answers(absent=absent)
    truth, told = given.truth.numpy(), given.logits.argmax(1).numpy()
    found = {name: float(value) for name, value in scores(given).items()}
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, told))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, told))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, told, average="macro"))
    expected = calibration_error_by_loops(given.logits.softmax(1).numpy(), truth)
    assert found["calibration_error"] == pytest.approx(expected, abs=1e-5)
    assert np.array_equal(confusion(given).numpy(), confusion_matrix(truth, told, labels=range(4)))


def test_a_perfect_classifier_is_perfect():
    truth = torch.arange(6) % 3
    found = scores(Answers(100 * torch.nn.functional.one_hot(truth).float(), truth, torch.arange(6)))
    assert {name: round(float(value), 6) for name, value in found.items()} == {
        "accuracy": 1, "balanced_accuracy": 1, "macro_f1": 1, "calibration_error": 0,
    }  # fmt: skip
