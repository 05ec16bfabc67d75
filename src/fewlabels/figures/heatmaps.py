"""Heat maps: distances between classes, confusion matrices, and a metric over two swept settings."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.names import shown_names
from fewlabels.figures.style import INK, MUTED, caption, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_ANNOTATED = 16
"""Heat maps with more rows have a colour bar instead of numbers, which would be illegible."""
MAX_LENGTH = 22
"""Of class names, in characters."""
ROWS = "% of the true class"


def distances_figure(
    names: Sequence[str], angles: NDArray[Any], euclidean: NDArray[Any], *, n: int, text: str, synthetic: bool = False
) -> "Figure":
    """Draw mean angles and mean Euclidean distances between classes.

    Args:
        names: [K] classes.
        angles: [K, K], in degrees.
        euclidean: [K, K].
        n: Number of samples.
        text: For the caption, see `caption`.
        synthetic: Whether the images are synthetic.
    """
    side = heatmap_side(len(names))
    figure = new_figure(2 * side + 0.6, side + 1.0)
    axes = figure.subplots(1, 2)
    names = shown_names(figure, names, MAX_LENGTH)
    annotated_heatmap(axes[0], angles, names, names, "mean angle (degrees)", "{:.0f}")
    annotated_heatmap(axes[1], euclidean, names, [""] * len(names), "mean Euclidean distance", "{:.1f}")
    caption(figure, text, n=n, synthetic=synthetic)
    return figure


def heatmap_side(count: int) -> float:
    """Side in inches of a square heat map of `count` classes with their names."""
    return 2.2 + 0.42 * count if count <= MAX_ANNOTATED else 2.5 + 0.2 * count


def annotated_heatmap(
    axis: "Axes",
    values: NDArray[Any],
    columns: Sequence[str],
    rows: Sequence[str],
    title: str,
    number_format: str,
    *,
    limits: tuple[float, float] | None = None,
    bar_label: str = "",
) -> None:
    """Draw values [R, C] with the names of rows and columns, and with numbers or, if there are many, a colour bar.

    Args:
        axis: To draw on.
        values: [R, C].
        columns: [C] names, see `shown_names`.
        rows: [R] names, likewise.
        title: Above the heat map.
        number_format: Of the numbers, such as "{:.0f}".
        limits: Of the colours; None for the range of the values.
        bar_label: Label of the colour bar.
    """
    low, high = limits or (float(values.min()), float(values.max()))
    image = axis.imshow(values, cmap="cividis", vmin=low, vmax=high)
    large = len(values) > MAX_ANNOTATED
    size = 6 if large else 9
    turn: dict[str, Any] = {"rotation": 90} if large else {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axis.set_xticks(range(len(columns)), columns, fontsize=size, **turn)
    axis.set_yticks(range(len(rows)), rows, fontsize=size)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_title(title, fontsize=10)
    if large:
        axis.figure.colorbar(image, ax=axis, shrink=0.7, label=bar_label)
    else:
        _annotate(axis, values, number_format, low, high)


def _annotate(axis: "Axes", values: NDArray[Any], number_format: str, low: float, high: float) -> None:
    for (row, column), value in np.ndenumerate(values):
        dark = (value - low) < 0.55 * (high - low)
        axis.text(column, row, number_format.format(value), ha="center", va="center", fontsize=8,
                  color="white" if dark else "black")  # fmt: skip


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
    names = shown_names(figure, names, MAX_LENGTH)
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
    names, titles = shown_names(figure, names, MAX_LENGTH), shown_names(figure, list(counts))
    for column, (axis, title, table) in enumerate(zip(axes, titles, counts.values(), strict=True)):
        rows = [""] * len(names) if column else names
        annotated_heatmap(axis, _percent(table), names, rows, title, "{:.0f}", limits=(0, 100), bar_label=ROWS)
        axis.set(xlabel="predicted")
    axes[0].set_ylabel("true")
    total = sum(int(table.sum()) for table in counts.values())
    caption(figure, f"predictions on test images; {text}; {ROWS}", n=total, synthetic=synthetic)
    return figure


def _percent(counts: NDArray[Any]) -> NDArray[np.float64]:
    percent: NDArray[np.float64] = 100 * counts / counts.sum(1, keepdims=True).clip(1)
    return percent


def sweep_heatmap(
    values: NDArray[np.float64],
    *,
    rows: tuple[str, Sequence[str]],
    columns: tuple[str, Sequence[str]],
    metric: str,
    n: int,
    text: str = "",
    synthetic: bool = False,
) -> "Figure":
    """Draw a metric over two settings; cells without a finished job stay white.

    Args:
        values: [R, C], NaN where no job has finished.
        rows: The setting on the vertical axis, and its R values.
        columns: The setting on the horizontal axis, and its C values.
        metric: Name of the metric.
        n: Number of finished jobs.
        text: Addition to the caption.
        synthetic: Whether the images are synthetic.
    """
    figure = new_figure(1.05 * len(columns[1]) + 3.4, 0.75 * len(rows[1]) + 2.0)
    axis = figure.subplots()
    image = axis.imshow(values, cmap="cividis", aspect="auto")
    axis.set_xticks(range(len(columns[1])), shown_names(figure, columns[1]))
    axis.set_yticks(range(len(rows[1])), shown_names(figure, rows[1]))
    axis.set(xlabel=columns[0], ylabel=rows[0])
    axis.tick_params(length=0, colors=INK, labelsize=9)
    axis.spines[:].set_visible(False)
    _annotate(axis, values, "{:.3g}", float(np.nanmin(values)), float(np.nanmax(values)))
    for cell in axis.texts:
        if cell.get_text() == "nan":
            cell.set(text="not finished", color=MUTED)
    bar = figure.colorbar(image, ax=axis, shrink=0.9)
    bar.set_label(metric, color=INK, fontsize=9)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, labelsize=8)
    caption(figure, "; ".join(part for part in ("jobs", text) if part), n=n, synthetic=synthetic)
    return figure
