"""How classes lie to each other in the space of embeddings: angles, distances, and how well they are parted."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewlabels.embeddings import Embeddings
from fewlabels.errors import UserError
from fewlabels.health import unit

MAX_SAMPLES = 2000


class ClassDistances(NamedTuple):
    """Mean distances between the members of classes.

    Attributes:
        names: [K] of the classes, in the order of their labels.
        angles: degrees [K, K]; on the diagonal, between two different members of a class.
        euclidean: [K, K], likewise.
        silhouette: Mean over samples, by angle, in [-1, 1]; 0 is no structure (Rousseeuw 1987).
        ratio: Mean angle within classes over mean angle between classes; 1 is no structure, less is better.
        n: Samples that it was computed of.
        sizes: int64 [K] of the classes in the data, before the cap.
    """

    names: list[str]
    angles: NDArray[np.float64]
    euclidean: NDArray[np.float64]
    silhouette: float
    ratio: float
    n: int
    sizes: NDArray[np.int64]

    def largest(self, count: int) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]]:
        """Names, angles and Euclidean distances of the largest classes, in the order of their labels."""
        rows = np.sort(np.argsort(-self.sizes, kind="stable")[:count])
        grid = np.ix_(rows, rows)
        return [self.names[row] for row in rows], self.angles[grid], self.euclidean[grid]


def angles_between(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """Degrees between every row of `one` [N, D] and every row of `other` [M, D], as [N, M]."""
    return np.degrees(np.arccos(np.clip(unit(one) @ unit(other).T, -1, 1)))


def class_distances(embeddings: Embeddings, *, max_samples: int = MAX_SAMPLES, seed: int = 0) -> ClassDistances:
    """Average all pairs of samples, class by class; the sample is capped, the same number of each class if it can be.

    Args:
        embeddings: Those with label -1 are left out.
        max_samples: At most so many samples.
        seed: Of the draw.

    Raises:
        UserError: Fewer than two classes with two samples each.
    """
    from sklearn.metrics import pairwise_distances, silhouette_score

    from fewlabels.probes import stratified_draw

    labels, counts = np.unique(embeddings.labels[embeddings.labels >= 0], return_counts=True)
    labels, counts = labels[counts > 1], counts[counts > 1]
    if len(labels) < 2:
        raise UserError(f"Distances between classes need two classes of two images each; there are {len(labels)}.")
    kept = embeddings.select(np.isin(embeddings.labels, labels))
    chosen = kept.select(np.sort(stratified_draw(kept.labels, max_samples, seed=seed)))
    angles = angles_between(chosen.vectors, chosen.vectors)
    np.fill_diagonal(angles, 0)  # rounding leaves a little
    members = [np.flatnonzero(chosen.labels == label) for label in labels]
    between = _class_means(angles, members)
    inside = np.diagonal(between).mean()
    outside = between[~np.eye(len(labels), dtype=bool)].mean()
    return ClassDistances(
        [embeddings.classes[label] if embeddings.classes else str(label) for label in labels],
        between,
        _class_means(pairwise_distances(chosen.vectors.astype(np.float64)), members),
        float(silhouette_score(angles, chosen.labels, metric="precomputed")),
        float(inside / outside) if outside else float("nan"),
        len(chosen),
        counts,
    )


def _class_means(distances: NDArray[np.float64], members: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Mean over the pairs of two classes, [K, K]; a sample's distance to itself does not count."""
    sums = np.array([[distances[np.ix_(a, b)].sum() for b in members] for a in members])
    sizes = np.array([len(rows) for rows in members])
    return sums / (np.outer(sizes, sizes) - np.diag(sizes))


class Gallery(NamedTuple):
    """What is typical of a class, what is not, and what else is close to it.

    Attributes:
        name: Of the class.
        nearest: Rows [n] of the class closest to its centre, the closest first.
        furthest: Rows [n] of the class furthest from it, the furthest first.
        intruders: Rows [n] of other classes closest to it, the closest first.
        angles: Degrees of each of these to the centre, in the same three lists.
    """

    name: str
    nearest: NDArray[np.int64]
    furthest: NDArray[np.int64]
    intruders: NDArray[np.int64]
    angles: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def galleries(embeddings: Embeddings, count: int = 5) -> list[Gallery]:
    """One gallery per class: distances are angles to the mean of the class's normalised embeddings."""
    directions = unit(embeddings.vectors)
    found = []
    for label in np.unique(embeddings.labels[embeddings.labels >= 0]):
        own = embeddings.labels == label
        angle = angles_between(directions, directions[own].mean(0, keepdims=True))[:, 0]
        inside, outside = (np.flatnonzero(mask)[np.argsort(angle[mask])] for mask in (own, ~own))
        rows = inside[:count], inside[::-1][:count], outside[:count]
        name = embeddings.classes[label] if embeddings.classes else str(label)
        found.append(Gallery(name, *rows, (angle[rows[0]], angle[rows[1]], angle[rows[2]])))
    return found


def neighbours(queries: Embeddings, pool: Embeddings, count: int = 10) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows of `pool` closest by angle to each query, never the query itself (by `index`): [Q, count], and degrees."""
    angle = angles_between(queries.vectors, pool.vectors)
    angle[queries.index[:, None] == pool.index] = np.inf
    rows = np.argsort(angle, axis=1)[:, :count]
    return rows, np.take_along_axis(angle, rows, axis=1)
