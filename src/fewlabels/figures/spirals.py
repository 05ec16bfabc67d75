"""Points in the plane: their 1-D embedding, their neighbour graph, and the pairs of one batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.style import CONTINUOUS, INK, MUTED, NEGATIVE, POSITIVE, caption, class_colours, new_figure, tidy


def embedding_figure(points: NDArray[np.float32], embedding: NDArray[np.float32]) -> Any:
    """Colour points [N, 2] by their 1-D embedding [N] or [N, 1]; returns a matplotlib Figure."""
    figure, axis = _plane(points, "The 1-D embedding of each point, as its colour", width=6.9)
    shown = axis.scatter(
        *points.T, c=np.ravel(embedding), cmap=CONTINUOUS, s=26, linewidths=0.4, edgecolors="white", zorder=2
    )
    bar = figure.colorbar(shown, ax=axis, shrink=0.85, aspect=28)
    bar.set_label("embedding z", color=INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, labelsize=9)
    caption(figure, "a colour that runs evenly from one outer end to the other means: unrolled", n=len(points))
    return figure


def position_figure(
    position: NDArray[np.float32],
    embedding: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    spearman: float,
) -> Any:
    """Draw the 1-D embedding [N] against the true position on the curve [N], coloured by arm."""
    figure = new_figure(6.4, 4.6)
    axis = figure.subplots()
    for name, colour, own in class_colours(labels, classes):
        axis.scatter(position[own], embedding[own], s=16, color=colour, linewidths=0, label=name)
    axis.set(xlabel="true position on the curve (arc length, ±1 at the outer ends)", ylabel="embedding z")
    axis.set_title(f"|Spearman| = {spearman:.4f}", fontsize=12, color=INK)
    axis.legend(frameon=False, fontsize=9)
    tidy(axis)
    caption(figure, "held-out points; a line that never turns means: unrolled", n=len(position))
    return figure


def graph_figure(points: NDArray[np.float32], graph: Any) -> Any:
    """Draw the networkx graph over points [N, 2], node i being row i; returns a matplotlib Figure."""
    import networkx as nx

    pieces = nx.number_connected_components(graph)
    figure, axis = _plane(points, "The neighbour graph: which points are joined")
    _segments(axis, points, np.array(graph.edges, np.int64).reshape(-1, 2), POSITIVE, alpha=0.45, width=0.8)
    axis.scatter(*points.T, s=9, color=INK, linewidths=0, zorder=3)
    whole = "in one piece" if pieces == 1 else f"in {pieces} pieces"
    caption(figure, f"{graph.number_of_edges():,} edges, {whole}", n=len(points))
    return figure


def pairs_figure(
    points: NDArray[np.float32],
    anchors: NDArray[np.int64],
    positives: NDArray[np.int64],
    negatives: NDArray[np.int64],
) -> Any:
    """Draw a batch's pairs over all points.

    Args:
        points: [N, 2].
        anchors: [B] rows of `points`.
        positives: [B] partner near in the graph.
        negatives: [B] partner far in the graph.

    Returns:
        A matplotlib Figure.
    """
    figure, axis = _plane(points, "One batch of pairs: drawn together, pushed apart", headroom=0.09)
    axis.scatter(*points.T, s=7, color="#BBBBBB", linewidths=0, zorder=1)
    _segments(axis, points, np.stack([anchors, negatives], 1), NEGATIVE, alpha=0.35, width=0.6)
    _segments(axis, points, np.stack([anchors, positives], 1), POSITIVE, alpha=1.0, width=1.6)
    axis.scatter(*points[anchors].T, s=16, color=INK, linewidths=0, zorder=4)
    _pairs_legend(axis)
    caption(figure, f"{len(anchors):,} positive and {len(anchors):,} negative pairs", n=len(points))
    return figure


def _pairs_legend(axis: Any) -> None:
    """Explain the marks, in the room above the points."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=INK, marker="o", markersize=4, linestyle="none", label="anchor"),
        Line2D([], [], color=POSITIVE, linewidth=1.6, label="to its positive: near in the graph"),
        Line2D([], [], color=NEGATIVE, linewidth=1.0, label="to its negative: far"),
    ]
    axis.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 1.0), borderaxespad=0.2, ncols=3,
        frameon=False, fontsize=9, labelcolor=INK, handletextpad=0.5, columnspacing=1.4,
    )  # fmt: skip


def _plane(points: NDArray[np.float32], title: str, width: float = 6.0, headroom: float = 0.0) -> tuple[Any, Any]:
    """A figure with one pair of axes that holds all points and has the same scale both ways."""
    margin = 0.04 * float(np.ptp(points, axis=0).max())
    low, high = points.min(0) - margin, points.max(0) + margin
    high[1] += headroom * (high - low)[1]
    figure = new_figure(width, 5.3 * float((high - low)[1] / (high - low)[0]) + 1.2)  # as high as the plane needs
    axis = figure.subplots()
    axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xlabel="x", ylabel="y")
    axis.set_title(title, fontsize=12, color=INK)
    tidy(axis)
    return figure, axis


def _segments(
    axis: Any, points: NDArray[np.float32], pairs: NDArray[np.int64], color: str, *, alpha: float, width: float
) -> Any:
    """Join pairs [M, 2] of rows by straight lines."""
    from matplotlib.collections import LineCollection

    lines = LineCollection(list(points[pairs]), colors=color, alpha=alpha, linewidths=width, zorder=2)
    return axis.add_collection(lines)
