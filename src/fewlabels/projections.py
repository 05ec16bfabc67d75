"""From many dimensions to few: principal components, and UMAP."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray


def principal_components(vectors: NDArray[Any], count: int = 4) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The leading principal components of embeddings [N, D].

    Returns:
        float32 [N, count], each component's larger tail positive, so that the sign is no accident; and the share of the
        variance that each explains.
    """
    from sklearn.decomposition import PCA

    model = PCA(min(count, *vectors.shape), random_state=0)
    points = model.fit_transform(np.asarray(vectors, np.float64))
    points *= np.where((points**3).sum(0) < 0, -1, 1)
    return points.astype(np.float32), model.explained_variance_ratio_


def umap_plane(vectors: NDArray[Any], *, neighbours: int = 15, seed: int = 0) -> NDArray[np.float32]:
    """Lay embeddings [N, D] out in a plane, [N, 2] (UMAP, McInnes et al. 2018, by angle).

    Seeded, and therefore on one thread. Call it in the main process with a capped sample: it takes seconds for
    thousands, and hangs in forked workers.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a seed costs it its threads, which it says every time
        import umap

        reducer = umap.UMAP(n_neighbors=min(neighbours, len(vectors) - 1), metric="cosine", random_state=seed, n_jobs=1)
        plane: NDArray[np.float32] = reducer.fit_transform(np.asarray(vectors, np.float32))
    return plane
