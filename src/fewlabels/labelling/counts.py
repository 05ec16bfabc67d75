"""How many images of each class there are: predictions counted, and expected numbers with intervals."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fewlabels.labelling.classifier import UNKNOWN, Classifier

if TYPE_CHECKING:
    import pandas as pd

REPEATS = 60
TEMPERATURE = 0.7
"""Of the probabilities for expectation maximisation: those of label spreading are too even; see docs/recipes.md."""
PSEUDO_LABELS = 2
"""With the mean share of far labels, which are added to those of a class, since a class may have few."""
INTERVAL = (0.025, 0.975)


def class_counts(
    classifier: Classifier, samples: Mapping[str, NDArray[np.int64]], names: Sequence[str], *, shifted: bool,
    repeats: int = REPEATS,
) -> "pd.DataFrame":  # fmt: skip
    """Count the images of each class in each sample: those that are labelled, and the others by their probabilities.

    Intervals are of bootstraps over labels and images: they assume that images of a class look like its labelled ones.

    Args:
        classifier: Of K classes.
        samples: {name: rows of its images}.
        names: [K].
        shifted: Whether the labels are of other images than those that are counted.
        repeats: Bootstraps.

    Returns:
        A row per sample and class, and of unknown images: sample, class, labelled, predicted, raw (the sum of both),
        expected, and its interval, low and high.
    """
    import pandas as pd

    own, probabilities = classifier.own_labels, classifier.probabilities
    free = {name: rows[own[rows] < 0] for name, rows in samples.items()}
    guessed = np.where(classifier.is_unknown, len(names), probabilities.argmax(1))
    drawn = _drawn(classifier, free, repeats, shifted=shifted)
    classes = [*names, UNKNOWN] if np.isfinite(classifier.threshold) else [*names]
    tables = []
    for name, rows in samples.items():
        found = own[rows][own[rows] >= 0], guessed[free[name]]
        labelled, predicted = (np.bincount(numbers, minlength=len(classes)) for numbers in found)
        expected = _expected(classifier, probabilities, free[name], shifted=shifted)
        low, high = np.quantile(drawn[name], INTERVAL, axis=0)
        ends = {"expected": expected, "low": np.minimum(low, expected), "high": np.maximum(high, expected)}
        columns = {"labelled": labelled, "predicted": predicted, "raw": labelled + predicted}
        columns |= {key: (labelled + value[: len(classes)]).round(1) for key, value in ends.items()}
        named = pd.DataFrame({"sample": name, "class": classes}, dtype=object)  # need not be UTF-8, as folders need not
        tables.append(named.assign(**columns))
    return pd.concat(tables, ignore_index=True)


def _drawn(
    classifier: Classifier, free: Mapping[str, NDArray[np.int64]], repeats: int, *, shifted: bool
) -> dict[str, list[NDArray[np.float64]]]:
    """Expected numbers [K + 1] of each sample's unlabelled images, of images and labels drawn with replacement."""
    draw = np.random.default_rng(classifier.seed + 1)
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in free}
    for probabilities, labels in classifier.bootstraps(repeats):
        for name, rows in free.items():
            images = rows[draw.integers(0, max(len(rows), 1), len(rows))]
            drawn[name].append(_expected(classifier, probabilities, images, labels, shifted=shifted))
    return drawn


def _expected(
    classifier: Classifier,
    probabilities: NDArray[np.float64],
    images: NDArray[np.int64],
    drawn: NDArray[np.int64] | None = None,
    *,
    shifted: bool,
) -> NDArray[np.float64]:
    """Expected numbers of unlabelled images of each class, and of unknown ones, [K + 1].

    Of the images of a class as many are far from all labels as labels of the class are from the others. If there are
    more, the excess is unknown: the farthest images. All others count to the classes by their probabilities.

    Args:
        classifier: Tells which images are far.
        probabilities: [N, K], of these labels.
        images: Rows of images, which may occur several times.
        drawn: int64 [n] of the classifier's labels; None: each once.
        shifted: See `class_counts`.
    """
    drawn = np.arange(len(classifier.rows)) if drawn is None else drawn
    labels, unknown = classifier.labels[drawn], 0
    numbers = _class_numbers(probabilities[images], labels, shifted=shifted)
    if far := int(classifier.is_unknown[images].sum()):
        beyond = classifier.label_novelty[drawn] > classifier.threshold
        of_class = np.bincount(labels, beyond, classifier.classes) + PSEUDO_LABELS * beyond.mean()
        shares = of_class / (np.bincount(labels, minlength=classifier.classes) + PSEUDO_LABELS)
        usual = min(float(numbers @ shares) / len(images), 0.99)
        unknown = max(round((far - usual * len(images)) / (1 - usual)), 0)
        nearest = np.argsort(classifier.novelty[images], kind="stable")[: len(images) - unknown]
        numbers = _class_numbers(probabilities[images[nearest]], labels, shifted=shifted)
    return np.append(numbers, unknown)


def _class_numbers(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], *, shifted: bool
) -> NDArray[np.float64]:
    """Expected number of images of each class, [K], from their probabilities [M, K]: their sum.

    If classes may be differently common where the labels come from (`shifted`), probabilities are corrected to the
    shares of the classes with which they agree, by expectation maximisation (Saerens et al. 2002), after sharpening.
    """
    if not shifted or not len(probabilities):
        total: NDArray[np.float64] = probabilities.sum(0)
        return total
    from quapy.method.aggregative import EMQ

    prior = np.maximum(np.bincount(labels, minlength=probabilities.shape[1]), 0.5)
    sharp = np.clip(probabilities, 1e-6, 1.0) ** (1 / TEMPERATURE)
    shares: NDArray[np.float64] = EMQ.EM(prior / prior.sum(), sharp / sharp.sum(1, keepdims=True))[0]
    return len(probabilities) * shares
