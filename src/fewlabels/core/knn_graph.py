"""k-nearest-neighbour graph of points, hop distances in it, and the pairs that a Siamese network is trained on."""

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from fewlabels.core.errors import UserError

if TYPE_CHECKING:
    from networkx import Graph

log = logging.getLogger(__name__)


def knn_graph(points: ArrayLike, k: int = 6) -> "Graph[int]":
    """Connect every point to its k nearest neighbours; edges are undirected, so a degree may exceed k.

    Logs a warning if the graph is not connected: points of different components then count as far apart, whatever their
    distance.

    Args:
        points: [N, D], any unit; distances are Euclidean.
        k: Number of neighbours, in [1, N).

    Returns:
        A graph with nodes 0 … N − 1.

    Raises:
        UserError: There are fewer than k other points, or k is below 1.
    """
    import networkx as nx
    from sklearn.neighbors import kneighbors_graph

    points = np.asarray(points)
    if not 1 <= k < len(points):
        raise UserError(
            f"method.k={k} neighbours are not possible among {len(points)} points: give at least 1 and fewer than the "
            "points of a split. Raise data.n_points or lower method.k."
        )
    graph: Graph[int] = nx.from_scipy_sparse_array(kneighbors_graph(points, k))
    components = nx.number_connected_components(graph)
    if components > 1:
        log.warning(
            "The neighbour graph of %d points has %d components. Points of different components count as far apart, so "
            "a 1-D embedding may order the components arbitrarily. Raise method.k or lower data.noise to connect them.",
            len(points), components,
        )  # fmt: skip
    return graph


def hop_distances(graph: "Graph[int]", cutoff: int) -> NDArray[np.int16]:
    """Number of edges on the shortest path between all pairs of nodes.

    Args:
        graph: A graph with nodes 0 … N − 1, N > 0; edge weights are ignored.
        cutoff: Hops, at least 1; the search stops there.

    Returns:
        int16 [N, N]: 0 on the diagonal, `cutoff + 1` for nodes that are further apart or not connected.
    """
    import networkx as nx
    from scipy.sparse.csgraph import dijkstra

    adjacency = nx.to_scipy_sparse_array(graph, nodelist=range(len(graph)), weight=None)
    hops = dijkstra(adjacency, directed=False, unweighted=True, limit=cutoff)  # inf beyond the limit
    return np.minimum(hops, cutoff + 1, out=hops).astype(np.int16)


def draw_pairs(
    hops: ArrayLike | Tensor, anchors: ArrayLike | Tensor, cutoff: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw a positive and a negative node for every anchor, each uniformly among all candidates.

    Args:
        hops: Integers [N, N], see `hop_distances`; 0 excludes a pair (such as a node and itself).
        anchors: [B] nodes.
        cutoff: A positive is 1 to `cutoff` hops away, a negative further.
        generator: On the CPU, so that the draw is the same on every device.

    Returns:
        Positives int64 [B] and negatives int64 [B].

    Raises:
        UserError: An anchor has no positive or no negative.
    """
    rows = torch.as_tensor(hops)[torch.as_tensor(anchors)]
    uniform = torch.rand(2, len(rows), dtype=torch.float64, generator=generator)
    positive = _draw_column((rows >= 1) & (rows <= cutoff), uniform[0], f"within {cutoff} hops")
    return positive, _draw_column(rows > cutoff, uniform[1], f"more than {cutoff} hops away")


def _draw_column(allowed: Tensor, uniform: Tensor, where: str) -> Tensor:
    """Choose one True column in each row of bool [B, N], by numbers [B] uniform in [0, 1)."""
    running = allowed.cumsum(1, dtype=torch.int32)
    count = running[:, -1]
    if (missing := int((count == 0).sum())) > 0:
        raise UserError(
            f"method.cutoff: {missing} of {len(allowed)} anchors have no other point {where} in the neighbour graph; "
            "each needs at least one. Raise data.n_points or change method.cutoff."
        )
    chosen = (uniform * count).to(torch.int32)  # number among the row's True columns, from 0
    return torch.searchsorted(running, chosen[:, None] + 1).squeeze(1)
