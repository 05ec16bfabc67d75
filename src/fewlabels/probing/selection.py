"""Which images to label first: the typical ones of clusters, or those that cover the most others.

Both work in the space of `neighbour_space`, and know the images that are labelled already.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.probing.projections import principal_components

STRATEGIES = ("typical", "covering", "random")
COMPONENTS = 64
NEIGHBOURS = 20
"""Of an image in its cluster, whose mean distance says how typical it is (Hacohen et al. 2022)."""
MAX_CLUSTERS = 500
MIN_CLUSTER = 5
"""Smaller clusters are outliers, and are chosen from last (Hacohen et al. 2022)."""
BANDWIDTH = 1.0
"""Of the similarity of embeddings of length 1; 0.7 and 1 are equally good, see docs/recipes.md."""
MAX_CANDIDATES = 3000
MAX_COVERED = 10_000
CHUNK = 2048
"""Images whose distances to all others are in memory at a time."""


def neighbour_space(vectors: NDArray[Any], components: int = COMPONENTS) -> NDArray[np.float32]:
    """Embeddings [N, D] in the space that neighbours are looked for in, float32 [N, min(components, N, D)].

    Scaled to length 1, centred, projected to their leading principal components, and scaled to length 1 again: what is
    left of few dimensions is less noisy, and kNN and clusters are better there.
    """
    points, _ = principal_components(_unit(np.asarray(vectors, np.float32)), components)
    return _unit(points)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)


def typical(
    points: NDArray[np.float32], count: int, labelled: Sequence[int] | NDArray[np.int64] = (), seed: int = 0
) -> NDArray[np.int64]:
    """Choose the typical images of as many clusters as there will be labels: TypiClust (Hacohen et al. 2022).

    One image after the other, from the cluster with the fewest labels and, among these, the most images: the image
    with the least mean distance to its nearest `NEIGHBOURS` of the cluster.

    Args:
        points: float32 [N, D], see `neighbour_space`.
        count: Of images to choose.
        labelled: Rows that are labelled already.
        seed: Of k-means.

    Returns:
        int64 [min(count, N - len(labelled))] rows, the most typical of the largest cluster first.
    """
    free = np.setdiff1d(np.arange(len(points)), labelled)
    count = min(count, len(free))
    if not count:
        return np.array([], np.int64)
    clusters = cluster(points, min(count + len(labelled), MAX_CLUSTERS), seed)
    sizes = np.bincount(clusters)
    labels = np.bincount(clusters[np.asarray(labelled, np.int64)], minlength=len(sizes))
    queues = [_by_typicality(points, np.flatnonzero(clusters == number), free) for number in range(len(sizes))]
    chosen: list[int] = []
    while len(chosen) < count:
        number = min(
            (number for number, queue in enumerate(queues) if queue),
            key=lambda number: (sizes[number] < MIN_CLUSTER, labels[number], -sizes[number]),
        )
        chosen.append(queues[number].pop(0))
        labels[number] += 1
    return np.array(chosen, np.int64)


def central_first(points: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of a cluster, the nearest to its mean first: the farther from it, the more often of another class."""
    return rows[np.argsort(-(points[rows] @ points[rows].mean(0)), kind="stable")]


def cluster(points: NDArray[np.float32], count: int, seed: int = 0) -> NDArray[np.int64]:
    """Divide points [N, D] into at most `count` clusters by k-means, int64 [N]; some may be empty."""
    from sklearn.cluster import KMeans

    distinct = len(np.unique(points, axis=0)) if len(points) < 10 * count else count
    model = KMeans(min(count, distinct), n_init=1, random_state=seed)  # more clusters than points: a warning
    return np.asarray(model.fit_predict(points), np.int64)


def _by_typicality(points: NDArray[np.float32], rows: NDArray[np.int64], free: NDArray[np.int64]) -> list[int]:
    """The free ones of the rows of one cluster, the most typical first."""
    from sklearn.neighbors import NearestNeighbors

    near = min(NEIGHBOURS, len(rows) - 1)
    candidates = rows[np.isin(rows, free)]
    if not near or not len(candidates):
        return [int(row) for row in candidates]
    distances, _ = NearestNeighbors(n_neighbors=near + 1).fit(points[rows]).kneighbors(points[candidates])
    return [int(row) for row in candidates[np.argsort(distances[:, 1:].mean(1), kind="stable")]]


def covering(
    points: NDArray[np.float32],
    count: int,
    labelled: Sequence[int] | NDArray[np.int64] = (),
    seed: int = 0,
    weights: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.int64]:
    """Choose images that cover the others best: MaxHerding (Bae et al. 2024).

    One image after the other, the one that adds most to the mean over all points of the similarity to the nearest
    chosen or labelled one, exp(-distance² / BANDWIDTH²). With 1 within a radius and 0 beyond it this would be ProbCover
    (Yehuda et al. 2022), which depends much on the radius. Of many images, `MAX_CANDIDATES` drawn at random can be
    chosen, and `MAX_COVERED` drawn at random are to be covered.

    Args:
        points: float32 [N, D] of length 1, see `neighbour_space`.
        count: Of images to choose.
        labelled: Rows that are labelled already, and cover what is around them.
        seed: Of these draws; few images are chosen from without any.
        weights: float [N], what covering each point is worth, such as how uncertain its class is; None: 1.

    Returns:
        int64 [min(count, N - len(labelled))] rows, in the order in which they were chosen.
    """
    draw, labelled = np.random.default_rng(seed), np.asarray(labelled, np.int64)
    free = np.setdiff1d(np.arange(len(points)), labelled)
    candidates = np.sort(draw.permutation(free)[: max(MAX_CANDIDATES, count)])
    covered = np.sort(draw.permutation(len(points))[:MAX_COVERED])
    worth = np.ones(len(covered), np.float32) if weights is None else np.asarray(weights, np.float32)[covered]
    best = coverage(points[covered], points[labelled])
    kernel = similarity(points[candidates], points[covered])
    left = np.ones(len(candidates), bool)
    chosen: list[int] = []
    for _ in range(min(count, len(free))):
        place = int(np.where(left, np.maximum(kernel - best, 0) @ worth, -1.0).argmax())
        chosen.append(int(candidates[place]))
        left[place] = False
        best = np.maximum(best, kernel[place])
    return np.array(chosen, np.int64)


def coverage(points: NDArray[np.float32], chosen: NDArray[np.float32]) -> NDArray[np.float32]:
    """Similarity of points [N, D] to the nearest of chosen points [M, D], float32 [N]; 0 if there are none."""
    best = np.zeros(len(points), np.float32)
    for start in range(0, len(chosen), CHUNK):
        best = np.maximum(best, similarity(points, chosen[start : start + CHUNK]).max(1))
    return best


def similarity(points: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gaussian similarity of points [N, D] and [M, D] of length 1, float32 [N, M]; 1 of equal ones."""
    inner = points @ others.T
    result: NDArray[np.float32] = np.exp((2 * inner - 2) / BANDWIDTH**2).astype(np.float32)
    return result
