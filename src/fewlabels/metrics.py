"""How well classes were told: torchmetrics over all answers at once."""

from typing import NamedTuple

from torch import Tensor

BINS = 15
"""Of the calibration error, as in Guo et al. 2017."""


class Answers(NamedTuple):
    """What was answered to every image of a part, in the order of their index.

    Attributes:
        logits: [N, K].
        truth: int64 [N].
        index: int64 [N] position in the data module's table of samples.
    """

    logits: Tensor
    truth: Tensor
    index: Tensor  # type: ignore[assignment] # a tuple has a method of this name, which nobody wants here


def scores(answers: Answers) -> dict[str, Tensor]:
    """Accuracy, balanced accuracy (mean recall of the classes that occur, as in `probes`), macro F1, calibration error.

    The calibration error is the expected difference of confidence and accuracy over `BINS` equal bins (Guo et al. 2017,
    §2, eq. 3). All are shares of 1.
    """
    from torchmetrics.functional import classification as measure

    logits, truth, _ = answers
    classes, counts = logits.shape[1], confusion(answers).float()
    return {
        "accuracy": measure.multiclass_accuracy(logits, truth, classes, average="micro"),
        "balanced_accuracy": (counts.diagonal() / counts.sum(1).clamp_min(1))[counts.sum(1) > 0].mean(),
        "macro_f1": measure.multiclass_f1_score(logits, truth, classes, average="macro"),
        "calibration_error": measure.multiclass_calibration_error(logits, truth, classes, n_bins=BINS),
    }


def confusion(answers: Answers) -> Tensor:
    """How often each class [K, rows] was told as each class [K, columns]."""
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    return multiclass_confusion_matrix(answers.logits, answers.truth, num_classes=answers.logits.shape[1])
