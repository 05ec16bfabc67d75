"""Metrics of a classifier, computed over all predictions of a split at once."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

BINS = 15
"""Bins of the calibration error, as in Guo et al. 2017."""


class Predictions(NamedTuple):
    """Predictions and labels of every image of a split, in the order of their index.

    Attributes:
        logits: [N, K].
        labels: int64 [N].
        index: int64 [N] position in the data module's table of samples.
    """

    logits: "Tensor"
    labels: "Tensor"
    index: "Tensor"  # type: ignore[assignment] # shadows tuple.index


def scores(predictions: Predictions) -> "dict[str, Tensor]":
    """Accuracy, balanced accuracy, macro F1 and expected calibration error, all in [0, 1].

    The calibration error is the mean absolute difference of confidence and accuracy over `BINS` equal bins, weighted by
    the number of images (Guo et al. 2017, §2, eq. 3).
    """
    from torchmetrics.functional import classification as measure

    logits, labels, _ = predictions
    classes = logits.shape[1]
    balanced = balanced_accuracy(labels.cpu().numpy(), logits.argmax(1).cpu().numpy())
    return {
        "accuracy": measure.multiclass_accuracy(logits, labels, classes, average="micro"),
        "balanced_accuracy": logits.new_tensor(balanced),
        "macro_f1": measure.multiclass_f1_score(logits, labels, classes, average="macro"),
        "calibration_error": measure.multiclass_calibration_error(logits, labels, classes, n_bins=BINS),
    }


def balanced_accuracy(labels: NDArray[Any], predicted: NDArray[Any]) -> float:
    """Mean recall of the classes that occur in `labels`; both are [N] class indices."""
    _, number = np.unique(labels, return_inverse=True)
    return float((np.bincount(number, labels == predicted) / np.bincount(number)).mean())


def confusion(predictions: Predictions) -> "Tensor":
    """Confusion matrix [K, K]: images of each class (row) that were predicted as each class (column)."""
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    logits, labels, _ = predictions
    return multiclass_confusion_matrix(logits, labels, num_classes=logits.shape[1])
