"""Heat maps: distances between classes, and a metric over two swept settings."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.style import INK, MUTED, caption, new_figure, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_ANNOTATED = 16
"""Heat maps with more rows have a colour bar instead of numbers, which would be illegible."""


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
        columns: [C] names.
        rows: [R] names.
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
    axis.set_xticks(range(len(columns)), [shortened(name) for name in columns], fontsize=size, **turn)
    axis.set_yticks(range(len(rows)), [shortened(name) for name in rows], fontsize=size)
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
    axis.set_xticks(range(len(columns[1])), columns[1])
    axis.set_yticks(range(len(rows[1])), rows[1])
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
