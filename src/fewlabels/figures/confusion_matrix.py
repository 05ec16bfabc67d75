"""Confusion matrices: of one classifier, and of several next to each other."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.heatmaps import annotated_heatmap, heatmap_side
from fewlabels.figures.style import caption, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = "% of the true class"


def confusion_figure(names: Sequence[str], counts: NDArray[Any], *, title: str, synthetic: bool = False) -> "Figure":
    """Draw a confusion matrix, each row in per cent of its sum.

    Args:
        names: [K] classes.
        counts: [K, K]; rows are the true classes, columns the predicted ones.
        title: Above the matrix.
        synthetic: Whether the images are synthetic.
    """
    side = heatmap_side(len(names)) + 0.3
    figure = new_figure(side + 0.8, side)
    axis = figure.subplots()
    annotated_heatmap(axis, _percent(counts), names, names, title, "{:.0f}", limits=(0, 100), bar_label=ROWS)
    axis.set(xlabel="predicted", ylabel="true")
    caption(figure, f"predictions; {ROWS}", n=int(counts.sum()), synthetic=synthetic)
    return figure


def confusion_comparison_figure(
    counts: Mapping[str, NDArray[Any]], names: Sequence[str], *, text: str, synthetic: bool = False
) -> "Figure":
    """Draw one confusion matrix per init, each row in per cent of its sum.

    Args:
        counts: Init to [K, K]; rows are the true classes, columns the predicted ones, summed over repeats.
        names: [K] classes.
        text: Number of labels, for the caption.
        synthetic: Whether the images are synthetic.
    """
    side = heatmap_side(len(names))
    figure = new_figure(side * len(counts) + 1.0, side + 1.3)
    axes = figure.subplots(1, len(counts), squeeze=False)[0]
    for column, (axis, (init, table)) in enumerate(zip(axes, counts.items(), strict=True)):
        rows = [""] * len(names) if column else names
        annotated_heatmap(axis, _percent(table), names, rows, init, "{:.0f}", limits=(0, 100), bar_label=ROWS)
        axis.set(xlabel="predicted")
    axes[0].set_ylabel("true")
    total = sum(int(table.sum()) for table in counts.values())
    caption(figure, f"predictions on test images; {text}; {ROWS}", n=total, synthetic=synthetic)
    return figure


def _percent(counts: NDArray[Any]) -> NDArray[np.float64]:
    percent: NDArray[np.float64] = 100 * counts / counts.sum(1, keepdims=True).clip(1)
    return percent
