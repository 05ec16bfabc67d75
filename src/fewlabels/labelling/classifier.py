"""Class probabilities of all images from the labels of a few, how sure they are, and how new each image looks."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fewlabels.probing.intervals import Interval
from fewlabels.probing.propagation import classify, neighbour_graph, spread

FOLDS = 10
MIN_HELD_OUT = 10
"""Fewer labels are not held out to estimate an accuracy."""


@dataclass(frozen=True)
class Classifier:
    """Label spreading over N images, of which n are labelled.

    Attributes:
        points: float32 [N, D], see `neighbour_space`.
        rows: int64 [n] of labelled images.
        labels: int64 [n] their classes.
        classes: K.
        seed: Of held-out parts and of bootstraps.
    """

    points: NDArray[np.float32]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    classes: int
    seed: int = 0

    @cached_property
    def graph(self) -> csr_matrix:
        """Of nearest neighbours."""
        return neighbour_graph(self.points)

    @cached_property
    def own_labels(self) -> NDArray[np.int64]:
        """The given label of every image, -1 without one, [N]."""
        own = np.full(len(self.points), -1, np.int64)
        own[self.rows] = self.labels
        return own

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """Of every image, [N, K]."""
        return spread(self.graph, self.rows, self.labels, self.classes)

    @cached_property
    def novelty(self) -> NDArray[np.float64]:
        """Distance of every image to the nearest labelled one, from 0 to 2, [N]."""
        nearest = (self.points @ self.points[self.rows].T).max(1).astype(np.float64)
        return np.sqrt(np.maximum(2 - 2 * nearest, 0))

    def held_out_accuracy(self) -> tuple[int, Interval] | None:
        """How many labels are guessed right without them and a tenth of the others, and their share with its interval.

        None if there are too few. The 95% interval of the share is Wilson's (1927).
        """
        from scipy.stats import binomtest

        count = len(self.rows)
        if count < MIN_HELD_OUT or len(np.unique(self.labels)) < 2:
            return None
        part, correct = np.random.default_rng(self.seed).permutation(count) % FOLDS, 0
        for fold in range(FOLDS):
            kept, out = part != fold, part == fold
            guessed = classify(spread(self.graph, self.rows[kept], self.labels[kept], self.classes)[self.rows[out]])
            correct += int((guessed == self.labels[out]).sum())
        low, high = binomtest(correct, count).proportion_ci(0.95, method="wilson")
        return correct, Interval(correct / count, float(low), float(high))

    def bootstraps(self, repeats: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
        """Yield probabilities [N, K] from labels that are drawn with replacement, and these labels [n]."""
        draw = np.random.default_rng(self.seed)
        for _ in range(repeats):
            drawn = draw.integers(0, len(self.rows), len(self.rows))
            yield spread(self.graph, self.rows[drawn], self.labels[drawn], self.classes), self.labels[drawn]
