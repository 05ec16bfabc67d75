"""What labels tell about themselves: how accurate guesses are, and what more labels would bring.

Labels are held out and guessed from others. Suggested labels are far apart, and many are of odd images: each counts as
many times as there are images whose nearest label it is. In docs/recipes.md such estimates are compared with the truth.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewlabels.labelling.classifier import Classifier
from fewlabels.probing.intervals import Interval, wilson
from fewlabels.probing.propagation import classify, spread

FOLDS = 10
HALVINGS = 3
MIN_LABELS = 10
"""Fewer labels are not held out to estimate an accuracy."""
MIN_GAIN = 40
"""Fewer labels do not tell what more of them would bring."""
MORE = 50
STOP = 0.02
"""More labels are not worth their time if even the upper end of the expected gain is below this."""
LOW = 0.4
"""If even the upper end of the accuracy is below this, held-out labels tell nothing of what more would bring."""
REPEATS = 200


class Learning(NamedTuple):
    """What n labels tell.

    Attributes:
        labels: n.
        accuracy: Share of all images that are guessed right, from the labels that are guessed from nine tenths of them.
        curve: (number of labels, accuracy) with a quarter, half and nine tenths of them; empty below `MIN_GAIN`.
        more: How many more labels `gain` is of.
        gain: Of the accuracy by that many more labels; None below `MIN_GAIN`, or if all images are labelled.
    """

    labels: int
    accuracy: Interval
    curve: list[tuple[int, float]]
    more: int
    gain: Interval | None


def learning(classifier: Classifier) -> Learning | None:
    """Estimate the accuracy of the guesses, and the gain by `MORE` labels; None with too few labels, or of one class.

    The interval of the accuracy is Wilson's (1927) of the effective number of labels, (sum of weights)^2 / sum of
    their squares (Kish 1965). The gain assumes that errors fall as a + b/sqrt(n), fitted to half and nine tenths of
    the labels; its 95% interval is of a bootstrap over the labels.
    """
    count = len(classifier.rows)
    if count < MIN_LABELS or len(np.unique(classifier.labels)) < 2:
        return None
    draw = np.random.default_rng(classifier.seed)
    weights = np.bincount(classifier.nearest_label, minlength=count).astype(float)
    full = _held_out(classifier, FOLDS, draw, keep=False)
    accuracy = wilson(float(np.average(full, weights=weights)), float(weights.sum() ** 2 / (weights**2).sum()))
    more = min(MORE, len(classifier.points) - count)
    if count < MIN_GAIN or not more:
        return Learning(count, accuracy, [], more, None)
    half = np.mean([_held_out(classifier, 2, draw, keep=True) for _ in range(HALVINGS)], 0)
    quarter = _held_out(classifier, 4, draw, keep=True)
    curve = [(count // 4, quarter), (count // 2, half), (round(0.9 * count), full)]
    scale = (count**-0.5 - (count + more) ** -0.5) / ((0.5 * count) ** -0.5 - (0.9 * count) ** -0.5)
    drawn = draw.integers(0, count, (REPEATS, count))
    gains = scale * np.array([np.average((full - half)[rows], weights=weights[rows]) for rows in drawn])
    mean, (low, high) = scale * np.average(full - half, weights=weights), np.quantile(gains, (0.025, 0.975))
    room = 1 - accuracy.mean, 1 - accuracy.mean, 1 - accuracy.low  # no more than all images can be right
    gain = Interval(*(min(float(value), most) for value, most in zip((mean, low, high), room, strict=True)))
    return Learning(count, accuracy, [(n, float(np.average(right, weights=weights))) for n, right in curve], more, gain)


def _held_out(classifier: Classifier, parts: int, draw: np.random.Generator, *, keep: bool) -> NDArray[np.float64]:
    """How often each label is guessed right from the one part it is not in (`keep`), or from all others, [n]."""
    rows, labels = classifier.rows, classifier.labels
    part = draw.permutation(len(rows)) % parts
    right, guessed = np.zeros(len(rows)), np.zeros(len(rows))
    for number in range(parts):
        known = (part == number) == keep
        probabilities = spread(classifier.graph, rows[known], labels[known], classifier.classes)
        right[~known] += classify(probabilities[rows[~known]]) == labels[~known]
        guessed[~known] += 1
    return right / guessed


def advice(found: Learning) -> str:
    """One sentence: the estimated accuracy, what more labels would bring, and whether to stop."""
    mean, low, high = (100 * value for value in found.accuracy)
    text = f"About {mean:.0f}% of all images are guessed right ({low:.0f} to {high:.0f})"
    if found.gain is None:
        few = found.labels < MIN_GAIN
        return f"{text}{f'; what more labels would bring is estimated from {MIN_GAIN} labels on' if few else ''}."
    if found.accuracy.high < LOW:
        return f"{text}: too few to tell what more labels would bring. Give every class some more."
    mean, low, high = (round(100 * value) + 0 for value in found.gain)
    verdict = "you may stop" if found.gain.high < STOP else "go on"
    expected = f"{mean:+d} points ({low:+d} to {high:+d})"
    labels = f"Another {found.more} labels are" if found.more > 1 else "Another label is"
    return f"{text}. {labels} expected to bring {expected}: {verdict}."
