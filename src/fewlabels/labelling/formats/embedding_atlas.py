"""Predictions on a map, as Embedding Atlas shows them: a Parquet file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.atomic_io import atomic_write, spelled
from fewlabels.probing.projections import MIN_SAMPLES, principal_components, umap_projection
from fewlabels.probing.propagation import NEIGHBOURS

if TYPE_CHECKING:
    import pandas as pd

COPIED = ("class", "probability", "from")


def write_embedding_atlas(table: "pd.DataFrame", points: NDArray[np.float32], file: Path) -> None:
    """Write path, class, probability, from; x and y, a UMAP; and neighbors, {"ids": row numbers, "distances": …}.

    The column neighbors is as Embedding Atlas documents it (packages/docs/tool.md): zero-based rows of this table, the
    nearest first, here without the image itself.

    Args:
        table: predictions.csv, N rows.
        points: float32 [N, d], see `neighbour_space`.
        file: Where to write.

    Raises:
        OSError: It cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    plane, (ids, distances) = _plane(points), _neighbours(points)
    columns: dict[str, Any] = {"path": pa.array([spelled(path) for path in table["path"]], pa.string())}
    for name in COPIED:
        kind = pa.float64() if name == "probability" else pa.string()
        columns[name] = pa.array(table[name].tolist(), kind)
    columns |= {"x": pa.array(plane[:, 0]), "y": pa.array(plane[:, 1])}
    lists = pa.array(ids.tolist(), pa.list_(pa.int64())), pa.array(distances.tolist(), pa.list_(pa.float64()))
    columns["neighbors"] = pa.StructArray.from_arrays(lists, ["ids", "distances"])
    with atomic_write(file) as temporary:
        pq.write_table(pa.table(columns), temporary)


def _plane(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """UMAP, [N, 2]; principal components of images that are too few for it."""
    if len(points) >= MIN_SAMPLES:
        return umap_projection(points)
    plane = principal_components(points, 2)[0] if len(points) > 1 else np.zeros((len(points), 2), np.float32)
    return plane if plane.shape[1] == 2 else np.c_[plane, np.zeros(len(plane), np.float32)]


def _neighbours(points: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows of the nearest other points, int64 [N, k], and their distances."""
    from sklearn.neighbors import NearestNeighbors

    if len(points) < 2:
        return np.zeros((len(points), 0), np.int64), np.zeros((len(points), 0))
    model = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(points) - 1)).fit(points)
    distances, ids = model.kneighbors()  # of the points themselves: each without itself
    return ids.astype(np.int64), distances.astype(np.float64)
