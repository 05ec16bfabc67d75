"""Tables of numbers as annotated heat maps: distances between classes, confusions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.style import caption, new_figure, shortened

READABLE = 16
"""More rows than this are not annotated: the numbers would not be legible."""


def distances_figure(
    names: Sequence[str], angles: NDArray[Any], euclidean: NDArray[Any], *, n: int, text: str, synthetic: bool = False
) -> Any:
    """Draw mean angles and mean Euclidean distances between classes [K, K] beside each other."""
    side = 2.2 + 0.42 * len(names) if len(names) <= READABLE else 2.5 + 0.2 * len(names)
    figure = new_figure(2 * side + 0.6, side + 1.0)
    axes = figure.subplots(1, 2)
    heat(axes[0], angles, names, names, "mean angle (degrees)", "{:.0f}")
    heat(axes[1], euclidean, names, [""] * len(names), "mean Euclidean distance", "{:.1f}")
    caption(figure, text, n=n, synthetic=synthetic)
    return figure


def confusion_figure(names: Sequence[str], counts: NDArray[Any], *, title: str, synthetic: bool = False) -> Any:
    """Draw what was told [K, K], rows being the truth, each as a share of its row."""
    side = 2.4 + 0.45 * len(names)
    figure = new_figure(side + 0.8, side)
    axis = figure.subplots()
    shares = 100 * counts / counts.sum(1, keepdims=True).clip(1)
    heat(axis, shares, names, names, title, "{:.0f}", limits=(0, 100))
    axis.set(xlabel="told", ylabel="true")
    caption(figure, "per cent of each row", n=int(counts.sum()), synthetic=synthetic)
    return figure


def heat(
    axis: Any,
    values: NDArray[Any],
    columns: Sequence[str],
    rows: Sequence[str],
    title: str,
    form: str,
    limits: tuple[float, float] | None = None,
) -> None:
    """Draw values [R, C] with the names of rows and columns; the numbers too, where they are legible."""
    low, high = limits or (float(values.min()), float(values.max()))
    picture = axis.imshow(values, cmap="cividis", vmin=low, vmax=high)
    small = len(values) > READABLE
    size = 6 if small else 9
    turn: dict[str, Any] = {"rotation": 90} if small else {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axis.set_xticks(range(len(columns)), [shortened(name) for name in columns], fontsize=size, **turn)
    axis.set_yticks(range(len(rows)), [shortened(name) for name in rows], fontsize=size)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_title(title, fontsize=10)
    if small:
        axis.figure.colorbar(picture, ax=axis, shrink=0.7)
        return
    for (row, column), value in np.ndenumerate(values):
        dark = (value - low) < 0.55 * (high - low)
        axis.text(column, row, form.format(value), ha="center", va="center", fontsize=8,
                  color="white" if dark else "black")  # fmt: skip
