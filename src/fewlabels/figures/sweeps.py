"""What a sweep found: a metric over two settings, and how every job came there."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.style import INK, MUTED, PALETTE, caption, new_figure, tidy


def heat_figure(
    values: NDArray[np.float64],
    *,
    rows: tuple[str, Sequence[str]],
    columns: tuple[str, Sequence[str]],
    metric: str,
    n: int,
    text: str = "",
    synthetic: bool = False,
) -> Any:
    """Draw a metric over two settings, annotated; what is missing stays white.

    Args:
        values: [R, C], NaN where no job has finished.
        rows: Name of the setting that changes downwards, and its R values.
        columns: Name of the one that changes to the right, and its C values.
        metric: What the values are.
        n: Finished jobs.
        text: For the caption.
        synthetic: Say so on the figure.

    Returns:
        A matplotlib Figure.
    """
    figure = new_figure(1.05 * len(columns[1]) + 3.4, 0.75 * len(rows[1]) + 2.0)
    axis = figure.subplots()
    picture = axis.imshow(values, cmap="cividis", aspect="auto")
    axis.set_xticks(range(len(columns[1])), columns[1])
    axis.set_yticks(range(len(rows[1])), rows[1])
    axis.set(xlabel=columns[0], ylabel=rows[0])
    axis.tick_params(length=0, colors=INK, labelsize=9)
    axis.spines[:].set_visible(False)
    low, high = np.nanmin(values), np.nanmax(values)
    for (row, column), value in np.ndenumerate(values):
        missing = not np.isfinite(value)
        light = missing or value > low + 0.55 * (high - low)
        axis.text(column, row, "not finished" if missing else f"{value:.3g}", ha="center", va="center", fontsize=9,
                  color=MUTED if missing else "black" if light else "white")  # fmt: skip
    bar = figure.colorbar(picture, ax=axis, shrink=0.9)
    bar.set_label(metric, color=INK, fontsize=9)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, labelsize=8)
    caption(figure, "; ".join(part for part in ("jobs", text) if part), n=n, synthetic=synthetic)
    return figure


def curves_figure(
    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]], *, metric: str, synthetic: bool = False
) -> Any:
    """Draw a metric against the steps of every job; up to eight have a colour, more share the lightness of one.

    Args:
        curves: Name of the job to (steps [M], values [M]).
        metric: What the values are.
        synthetic: Say so on the figure.

    Returns:
        A matplotlib Figure.
    """
    import matplotlib as mpl

    figure = new_figure(7.6, 4.2)
    axis = figure.subplots()
    many = len(curves) > len(PALETTE)
    shades = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(curves))) if many else PALETTE
    for (name, (steps, values)), colour in zip(curves.items(), shades, strict=False):
        axis.plot(steps, values, color=colour, linewidth=1.4, marker="." if len(steps) < 30 else None, label=name)
    axis.set(xlabel="optimiser steps", ylabel=metric)
    axis.grid(axis="y", color="#EEEEEE")
    tidy(axis)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    caption(figure, "jobs", n=len(curves), synthetic=synthetic)
    return figure
