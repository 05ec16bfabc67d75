"""Figures of points on a curve: their 1-D embedding, the neighbour graph, and training pairs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.style import CONTINUOUS, INK, MUTED, NEGATIVE, POSITIVE, caption, class_colours, new_figure, tidy

if TYPE_CHECKING:
    import networkx as nx
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def embedding_figure(points: NDArray[np.float32], embedding: NDArray[np.float32]) -> "Figure":
    """Draw points [N, 2], coloured by their 1-D embedding [N] or [N, 1]."""
    figure, axis = _plane(points, "1-D embedding of the points", width=6.9)
    x, y = points.T
    scatter = axis.scatter(x, y, c=np.ravel(embedding), cmap=CONTINUOUS, s=26, linewidths=0.4, edgecolors="white")
    bar = figure.colorbar(scatter, ax=axis, shrink=0.85, aspect=28)
    bar.set_label("embedding z", color=INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, labelsize=9)
    caption(figure, "points; the order is recovered if the colour changes steadily along the curve", n=len(points))
    return figure


def position_figure(
    position: NDArray[np.float32],
    embedding: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    spearman: float,
) -> "Figure":
    """Draw the 1-D embedding [N] against the position on the curve [N], coloured by class (arm)."""
    figure = new_figure(6.4, 4.6)
    axis = figure.subplots()
    for name, colour, mask in class_colours(labels, classes):
        axis.scatter(position[mask], embedding[mask], s=16, color=colour, linewidths=0, label=name)
    axis.set(xlabel="true position on the curve (arc length, ±1 at the outer ends)", ylabel="embedding z")
    axis.set_title(f"|Spearman| = {spearman:.4f}", fontsize=12, color=INK)
    axis.legend(frameon=False, fontsize=9)
    tidy(axis)
    caption(figure, "test points; the order is recovered if the embedding is monotonic", n=len(position))
    return figure


def graph_figure(points: NDArray[np.float32], graph: "nx.Graph") -> "Figure":
    """Draw a graph over points [N, 2]; node i is row i."""
    import networkx as nx

    components = nx.number_connected_components(graph)
    figure, axis = _plane(points, "k-nearest-neighbour graph")
    _segments(axis, points, np.array(graph.edges, np.int64).reshape(-1, 2), POSITIVE, alpha=0.45, width=0.8)
    axis.scatter(points[:, 0], points[:, 1], s=9, color=INK, linewidths=0, zorder=3)
    connected = "1 connected component" if components == 1 else f"{components} connected components"
    caption(figure, f"points; {graph.number_of_edges():,} edges; {connected}", n=len(points))
    return figure


def pairs_figure(
    points: NDArray[np.float32],
    anchors: NDArray[np.int64],
    positives: NDArray[np.int64],
    negatives: NDArray[np.int64],
) -> "Figure":
    """Draw positive and negative pairs over all points.

    Args:
        points: [N, 2].
        anchors: [B] rows of `points`.
        positives: [B] rows; each anchor's positive.
        negatives: [B] rows; each anchor's negative.
    """
    figure, axis = _plane(points, "Positive and negative pairs", headroom=0.09)
    axis.scatter(points[:, 0], points[:, 1], s=7, color="#BBBBBB", linewidths=0, zorder=1)
    _segments(axis, points, np.stack([anchors, negatives], 1), NEGATIVE, alpha=0.35, width=0.6)
    _segments(axis, points, np.stack([anchors, positives], 1), POSITIVE, alpha=1.0, width=1.6)
    axis.scatter(points[anchors, 0], points[anchors, 1], s=16, color=INK, linewidths=0, zorder=4)
    _pairs_legend(axis)
    caption(figure, f"points; {len(anchors):,} positive and {len(anchors):,} negative pairs", n=len(points))
    return figure


def _pairs_legend(axis: "Axes") -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=INK, marker="o", markersize=4, linestyle="none", label="anchor"),
        Line2D([], [], color=POSITIVE, linewidth=1.6, label="positive (close in the graph)"),
        Line2D([], [], color=NEGATIVE, linewidth=1.0, label="negative (far)"),
    ]
    axis.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 1.0), borderaxespad=0.2, ncols=3,
        frameon=False, fontsize=9, labelcolor=INK, handletextpad=0.5, columnspacing=1.4,
    )  # fmt: skip


def _plane(points: NDArray[np.float32], title: str, width: float = 6.0, headroom: float = 0.0) -> "tuple[Figure, Axes]":
    """Make a figure with one axis that holds all points at equal scale; `headroom` is a fraction of the height."""
    margin = 0.04 * float(np.ptp(points, axis=0).max())
    low, high = points.min(0) - margin, points.max(0) + margin
    high[1] += headroom * (high - low)[1]
    figure = new_figure(width, 5.3 * float((high - low)[1] / (high - low)[0]) + 1.2)
    axis = figure.subplots()
    axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xlabel="x", ylabel="y")
    axis.set_title(title, fontsize=12, color=INK)
    tidy(axis)
    return figure, axis


def _segments(
    axis: "Axes", points: NDArray[np.float32], pairs: NDArray[np.int64], color: str, *, alpha: float, width: float
) -> None:
    """Draw a line between the points of every pair [M, 2] of rows."""
    from matplotlib.collections import LineCollection

    axis.add_collection(LineCollection(list(points[pairs]), colors=color, alpha=alpha, linewidths=width, zorder=2))
