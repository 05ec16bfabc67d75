"""How many images of each class there are: predictions counted, and expected numbers with intervals."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fewlabels.labelling.classifier import Classifier

if TYPE_CHECKING:
    import pandas as pd

REPEATS = 60
TEMPERATURE = 0.7
"""Of the probabilities for expectation maximisation: those of label spreading are too even; see docs/recipes.md."""
INTERVAL = (0.025, 0.975)


def class_counts(
    classifier: Classifier,
    samples: Mapping[str, NDArray[np.int64]],
    names: Sequence[str],
    *,
    shifted: bool,
    repeats: int = REPEATS,
) -> "pd.DataFrame":
    """Count the images of each class in each sample: those that are labelled, and the others by their probabilities.

    Intervals are of bootstraps over labels and images. They assume that images of a class look like its labelled ones.

    Args:
        classifier: Of K classes.
        samples: {name: rows of its images}.
        names: [K], of the classes.
        shifted: Whether the labels come from other images than those that are counted.
        repeats: Bootstraps.

    Returns:
        A row per sample and class; columns sample, class, labelled, predicted (the most probable class), raw (their
        sum), and expected with low and high, its 95% interval.
    """
    import pandas as pd

    own = classifier.own_labels
    free = {name: rows[own[rows] < 0] for name, rows in samples.items()}
    drawn = _drawn(classifier, free, repeats, shifted=shifted)
    parts = []
    for name, rows in samples.items():
        probabilities = classifier.probabilities[free[name]]
        labelled = np.bincount(own[rows][own[rows] >= 0], minlength=len(names))
        predicted = np.bincount(probabilities.argmax(1), minlength=len(names))
        expected = _expected(probabilities, classifier.labels, shifted=shifted)
        low, high = np.quantile(drawn[name], INTERVAL, axis=0)
        ends = {"expected": expected, "low": np.minimum(low, expected), "high": np.maximum(high, expected)}
        columns = {"labelled": labelled, "predicted": predicted, "raw": labelled + predicted}
        columns |= {key: (labelled + value).round(1) for key, value in ends.items()}
        parts.append(pd.DataFrame({"sample": name, "class": list(names)} | columns))
    return pd.concat(parts, ignore_index=True)


def _drawn(
    classifier: Classifier, free: Mapping[str, NDArray[np.int64]], repeats: int, *, shifted: bool
) -> dict[str, list[NDArray[np.float64]]]:
    """Expected numbers [K] of each sample's unlabelled images, of images and labels drawn with replacement."""
    draw = np.random.default_rng(classifier.seed + 1)
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in free}
    for probabilities, labels in classifier.bootstraps(repeats):
        for name, rows in free.items():
            images = rows[draw.integers(0, max(len(rows), 1), len(rows))]
            drawn[name].append(_expected(probabilities[images], labels, shifted=shifted))
    return drawn


def _expected(probabilities: NDArray[np.float64], labels: NDArray[np.int64], *, shifted: bool) -> NDArray[np.float64]:
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
