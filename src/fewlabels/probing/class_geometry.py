"""Geometry of classes in embedding space: angles, distances, separation, typical images, nearest neighbours."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.errors import UserError
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.label_efficiency import stratified_draw
from fewlabels.probing.representation_quality import unit

MAX_SAMPLES = 2000
"""Default limit on the samples whose pairwise distances are computed."""


class ClassDistances(NamedTuple):
    """Mean distances between samples of classes.

    Attributes:
        names: [K] class names, in the order of their labels.
        angles: [K, K] mean angle in degrees; on the diagonal, between different samples of a class.
        euclidean: [K, K] mean Euclidean distance, likewise.
        silhouette: Mean over samples, by angle, in [-1, 1]; 0 means no structure (Rousseeuw 1987).
        ratio: Mean angle within classes over mean angle between classes; 1 means no structure, lower is better.
        n: Number of samples used.
        sizes: int64 [K] samples of each class in the data, of which at most `max_samples` in all are used.
    """

    names: list[str]
    angles: NDArray[np.float64]
    euclidean: NDArray[np.float64]
    silhouette: float
    ratio: float
    n: int
    sizes: NDArray[np.int64]

    def largest(self, count: int) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]]:
        """Names, angles and Euclidean distances of the `count` largest classes, in the order of their labels."""
        rows = np.sort(np.argsort(-self.sizes, kind="stable")[:count])
        grid = np.ix_(rows, rows)
        return [self.names[row] for row in rows], self.angles[grid], self.euclidean[grid]


def angles_between(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """Angles in degrees [N, M] between the rows of `one` [N, D] and of `other` [M, D]."""
    return np.degrees(np.arccos(np.clip(unit(one) @ unit(other).T, -1, 1)))


def class_distances(embeddings: Embeddings, *, max_samples: int = MAX_SAMPLES, seed: int = 0) -> ClassDistances:
    """Average distances over all pairs of samples, per pair of classes.

    Args:
        embeddings: Unlabelled ones and classes of a single sample are left out.
        max_samples: Limit on the samples used, which are then a balanced random subset.
        seed: Seed of the subset.

    Raises:
        UserError: There are fewer than two classes of at least two samples.
    """
    from sklearn.metrics import pairwise_distances, silhouette_score

    labels, counts = np.unique(embeddings.labels[embeddings.labels >= 0], return_counts=True)
    labels, counts = labels[counts > 1], counts[counts > 1]
    if len(labels) < 2:
        raise UserError(
            f"Distances between classes need at least 2 classes of 2 labelled images; there are {len(labels)}. Label "
            "more images."
        )
    labelled = embeddings.select(np.isin(embeddings.labels, labels))
    subset = labelled.select(np.sort(stratified_draw(labelled.labels, max_samples, seed=seed)))
    angles = angles_between(subset.vectors, subset.vectors)
    np.fill_diagonal(angles, 0)  # removes rounding errors
    members = [np.flatnonzero(subset.labels == label) for label in labels]
    means = _class_means(angles, members)
    within = np.diagonal(means).mean()
    between = means[~np.eye(len(labels), dtype=bool)].mean()
    return ClassDistances(
        [_class_name(embeddings, label) for label in labels],
        means,
        _class_means(pairwise_distances(subset.vectors.astype(np.float64)), members),
        float(silhouette_score(angles, subset.labels, metric="precomputed")),
        float(within / between) if between else float("nan"),
        len(subset),
        counts,
    )


def _class_name(embeddings: Embeddings, label: int) -> str:
    return embeddings.classes[label] if embeddings.classes else str(label)


def _class_means(distances: NDArray[np.float64], members: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Mean distance over the pairs of samples of two classes, [K, K], without a sample's distance to itself."""
    sums = np.array([[distances[np.ix_(a, b)].sum() for b in members] for a in members])
    sizes = np.array([len(rows) for rows in members])
    return sums / (np.outer(sizes, sizes) - np.diag(sizes))


class Gallery(NamedTuple):
    """Samples nearest to and furthest from the centre of a class, and the nearest samples of other classes.

    Attributes:
        name: Class name.
        nearest: Rows [n] of the class nearest to its centre, in increasing distance.
        furthest: Rows [n] of the class furthest from its centre, in decreasing distance.
        intruders: Rows [n] of other classes, or unlabelled, nearest to the centre, in increasing distance.
        angles: Angles to the centre in degrees, of `nearest`, `furthest` and `intruders`.
    """

    name: str
    nearest: NDArray[np.int64]
    furthest: NDArray[np.int64]
    intruders: NDArray[np.int64]
    angles: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def galleries(embeddings: Embeddings, count: int = 5) -> list[Gallery]:
    """One gallery per class. Its centre is the mean of its normalised embeddings; distances to it are angles."""
    directions = unit(embeddings.vectors)
    result = []
    for label in np.unique(embeddings.labels[embeddings.labels >= 0]):
        is_member = embeddings.labels == label
        angle = angles_between(directions, directions[is_member].mean(0, keepdims=True))[:, 0]
        members, others = (np.flatnonzero(mask)[np.argsort(angle[mask])] for mask in (is_member, ~is_member))
        rows = members[:count], members[::-1][:count], others[:count]
        angles = angle[rows[0]], angle[rows[1]], angle[rows[2]]
        result.append(Gallery(_class_name(embeddings, label), *rows, angles))
    return result


def neighbours(queries: Embeddings, pool: Embeddings, count: int = 10) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Nearest neighbours of each query by angle, except the query itself (the same `index`).

    Returns:
        Rows of `pool` [Q, count], and the angles in degrees [Q, count].
    """
    angle = angles_between(queries.vectors, pool.vectors)
    angle[queries.index[:, None] == pool.index] = np.inf
    rows = np.argsort(angle, axis=1)[:, :count]
    return rows, np.take_along_axis(angle, rows, axis=1)
