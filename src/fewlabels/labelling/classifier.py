"""Class probabilities of all images from the labels of a few, and which images look like none of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fewlabels.core.errors import UserError
from fewlabels.probing.propagation import spread

if TYPE_CHECKING:
    from sklearn.neighbors import NearestNeighbors

UNKNOWN = "unknown"
"""The class of images that look like no label."""
MIN_CALIBRATION = 20
"""Fewer labels do not tell how far images of a class are from each other."""


@dataclass(frozen=True)
class Classifier:
    """Label spreading over N images, of which n are labelled.

    Attributes:
        points: float32 [N, D], see `neighbour_space`.
        graph: [N, N] of their nearest neighbours, see `neighbour_graph`.
        rows: int64 [n] of labelled images.
        labels: int64 [n] their classes.
        classes: K.
        unknown: Share of the labels that are farther from all others than an image may be from the nearest label
            before it is called unknown; None: no image is.
        seed: Of held-out parts and of bootstraps.
    """

    points: NDArray[np.float32]
    graph: csr_matrix
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    classes: int
    unknown: float | None = None
    seed: int = 0

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
    def neighbours(self) -> "NearestNeighbors":
        """Index of the labelled images."""
        from sklearn.neighbors import NearestNeighbors

        return NearestNeighbors(n_neighbors=1).fit(self.points[self.rows])

    @cached_property
    def _nearest(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        distance, place = self.neighbours.kneighbors(self.points)
        return distance[:, 0].astype(np.float64), place[:, 0].astype(np.int64)

    @property
    def nearest_label(self) -> NDArray[np.int64]:
        """Which of the n labels is nearest to each image, [N]."""
        return self._nearest[1]

    @property
    def novelty(self) -> NDArray[np.float64]:
        """Distance of every image to the nearest labelled one, from 0 to 2, [N]."""
        return self._nearest[0]

    @cached_property
    def label_novelty(self) -> NDArray[np.float64]:
        """Distance of every labelled image to the nearest other one, [n]."""
        return np.asarray(self.neighbours.kneighbors()[0][:, 0], np.float64)

    @cached_property
    def threshold(self) -> float:
        """The novelty above which an image is unknown; infinite without `unknown`, or with too few labels."""
        if not self.unknown or len(self.rows) < MIN_CALIBRATION:
            return float("inf")
        return float(np.quantile(self.label_novelty, 1 - self.unknown))

    @cached_property
    def is_unknown(self) -> NDArray[np.bool_]:
        """Whether an image is unlabelled and farther than `threshold` from all labels, [N]."""
        return (self.novelty > self.threshold) & (self.own_labels < 0)

    def bootstraps(self, repeats: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
        """Yield probabilities [N, K] from labels that are drawn with replacement, and which ones these are, [n]."""
        draw = np.random.default_rng(self.seed)
        for _ in range(repeats):
            drawn = draw.integers(0, len(self.rows), len(self.rows))
            yield spread(self.graph, self.rows[drawn], self.labels[drawn], self.classes), drawn


def is_unknown(name: str) -> bool:
    """Whether a class is called as images are that look like no label."""
    return name.strip().casefold() == UNKNOWN


def check_names(classes: list[str], unknown: float | None) -> None:
    """Refuse a class that is called as images are that look like no label."""
    if unknown and (same := [name for name in classes if is_unknown(name)]):
        raise UserError(
            f"A class is named {same[0]!r}, which is what images that look like no label are called. Give it another "
            f"name in the labels; or 'data.unlabelled=[{same[0]}]', if its images are not labelled; or unknown=null: "
            "then all images get the most probable class."
        )
