"""Projections of embeddings to few dimensions: principal components and UMAP."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_SAMPLES = 5
"""Fewer samples make no map."""


def principal_components(vectors: NDArray[Any], count: int = 4) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Leading principal components of embeddings [N, D].

    Returns:
        float32 [N, count], with signs such that every component has non-negative skew; and the fractions of variance
        explained, [count], 0 if all embeddings are equal.
    """
    from sklearn.decomposition import PCA

    model = PCA(min(count, *vectors.shape), random_state=0)
    with np.errstate(invalid="ignore"):  # there is no variance to divide by if all embeddings are equal
        points = model.fit_transform(np.asarray(vectors, np.float64))
    points *= np.where((points**3).sum(0) < 0, -1, 1)
    return points.astype(np.float32), np.nan_to_num(model.explained_variance_ratio_)


def all_equal(vectors: NDArray[Any]) -> bool:
    """Whether embeddings [N, D] differ by no more than rounding errors."""
    vectors = np.asarray(vectors, np.float64)
    return bool(np.ptp(vectors, axis=0).max() <= 1e-6 * max(float(np.abs(vectors).max()), 1e-12))


def umap_projection(vectors: NDArray[Any], *, neighbours: int = 15, seed: int = 0) -> NDArray[np.float32]:
    """Project embeddings [N, D] to the plane, [N, 2] (UMAP, McInnes et al. 2018, with cosine distance).

    Takes seconds for thousands of samples: pass a sample of limited size. Call it in the main process, since it
    deadlocks in forked workers.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # UMAP warns that a seed restricts it to one thread
        import umap

        reducer = umap.UMAP(n_neighbors=min(neighbours, len(vectors) - 1), metric="cosine", random_state=seed, n_jobs=1)
        plane: NDArray[np.float32] = reducer.fit_transform(np.asarray(vectors, np.float32))
    return plane
