"""The neighbour graph of a point cloud, and the pairs that a Siamese network learns from it."""

import logging
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from fewlabels.errors import UserError

_log = logging.getLogger(__name__)


def knn_graph(points: ArrayLike, k: int = 6) -> Any:
    """Join every point to its k nearest neighbours; an edge has no direction, so a point may have more than k.

    A graph in several pieces is announced in the log: points of different pieces then count as far from each other,
    however near they lie.

    Args:
        points: [N, D], any unit; distances are Euclidean.
        k: Neighbours, in [1, N).

    Returns:
        A networkx.Graph with nodes 0 … N − 1.

    Raises:
        UserError: there are not k other points.
    """
    import networkx as nx
    from sklearn.neighbors import kneighbors_graph

    points = np.asarray(points)
    if not 1 <= k < len(points):
        raise UserError(
            f"method.k={k} neighbours cannot be found among {len(points)} points: it must be at least 1 and below "
            "their number. Raise data.n_points or lower method.k."
        )
    graph = nx.from_scipy_sparse_array(kneighbors_graph(points, k))
    pieces = nx.number_connected_components(graph)
    if pieces > 1:
        _log.warning(
            "The neighbour graph of %d points falls into %d pieces, whose points all count as far from each other: a "
            "1-D embedding may put the pieces in any order. A larger method.k or a smaller data.noise joins them.",
            len(points), pieces,
        )  # fmt: skip
    return graph


def hop_distances(graph: Any, cutoff: int) -> NDArray[np.int16]:
    """Count the edges on the shortest path between all nodes.

    Args:
        graph: A networkx.Graph with nodes 0 … N − 1.
        cutoff: Hops, at least 1; the search stops there.

    Returns:
        int16 [N, N]: 0 on the diagonal, `cutoff + 1` for all that is further, or not connected.
    """
    import networkx as nx

    hops = np.full((len(graph), len(graph)), cutoff + 1, np.int16)
    for node, reached in nx.all_pairs_shortest_path_length(graph, cutoff=cutoff):
        hops[node, list(reached)] = list(reached.values())
    return hops


def draw_pairs(
    hops: ArrayLike | Tensor, anchors: ArrayLike | Tensor, cutoff: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw for every anchor one near and one far node, each uniformly among all there are.

    Args:
        hops: Integers [N, N], see `hop_distances`; 0 means "neither" (a node and itself).
        anchors: [B] nodes.
        cutoff: A positive is 1 to `cutoff` hops away, a negative further.
        generator: On the CPU; gives one number per pair, and the draw hangs on nothing else.

    Returns:
        Positives int64 [B] and negatives int64 [B].

    Raises:
        UserError: an anchor has no positive or no negative.
    """
    rows = torch.as_tensor(hops)[torch.as_tensor(anchors)]
    uniform = torch.rand(2, len(rows), dtype=torch.float64, generator=generator)
    positive = _draw((rows >= 1) & (rows <= cutoff), uniform[0], f"within {cutoff} hops")
    return positive, _draw(rows > cutoff, uniform[1], f"more than {cutoff} hops away")


def _draw(allowed: Tensor, uniform: Tensor, where: str) -> Tensor:
    """Pick one True per row of bool [B, N] with numbers [B] in [0, 1)."""
    running = allowed.cumsum(1, dtype=torch.int32)
    count = running[:, -1]
    if (missing := int((count == 0).sum())) > 0:
        raise UserError(
            f"{missing} of {len(allowed)} anchors have no other point {where} in the neighbour graph. "
            "Raise data.n_points, or change method.cutoff."
        )
    wanted = (uniform * count).to(torch.int32)  # the how-many-th of them, counted from 0
    return torch.searchsorted(running, wanted[:, None] + 1).squeeze(1)
