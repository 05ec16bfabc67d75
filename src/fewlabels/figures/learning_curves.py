"""Learning curves: a metric against optimizer steps, for the jobs of a sweep or for repeated finetunings."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.names import shown_names
from fewlabels.figures.style import PALETTE, caption, curve_styles, legend_above, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def curves_figure(
    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]], *, metric: str, synthetic: bool = False
) -> "Figure":
    """Draw one curve per job; more than eight get the shades of a continuous colour map.

    Args:
        curves: Name of the job to (steps [M], values [M]).
        metric: Name of the metric.
        synthetic: Whether the images are synthetic.
    """
    import matplotlib as mpl

    many = len(curves) > len(PALETTE)
    figure = new_figure(7.6, 4.2)
    axis = figure.subplots()
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(curves))) if many else PALETTE
    names = shown_names(figure, list(curves))
    for name, (steps, values), colour in zip(names, curves.values(), colours, strict=False):
        axis.plot(steps, values, color=colour, linewidth=1.4, marker="." if len(steps) < 30 else None, label=name)
    axis.set(xlabel="optimizer steps", ylabel=metric)
    axis.grid(axis="y", color="#EEEEEE")
    tidy(axis)
    columns = math.ceil(len(curves) / 20)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8, ncols=columns)
    caption(figure, "jobs", n=len(curves), synthetic=synthetic)
    return figure


def repeated_curves_figure(
    curves: Mapping[str, Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]],
    *,
    text: str,
    synthetic: bool = False,
) -> "Figure":
    """Draw validation accuracy against optimizer steps: a thin line per repeat, a thick one for the mean of each init.

    Args:
        curves: Init to (steps [M], balanced accuracies in [0, 1], [M]) of every repeat. The mean ends with the
            shortest repeat.
        text: Number of labels, for the caption.
        synthetic: Whether the images are synthetic.
    """
    figure = new_figure(6.6, 4.2)
    axis = figure.subplots()
    names, styles = shown_names(figure, list(curves)), curve_styles(len(curves))
    for name, repeats, (colour, line, _) in zip(names, curves.values(), styles, strict=True):
        for steps, values in repeats:
            axis.plot(steps, 100 * values, color=colour, linewidth=0.5, alpha=0.5)
        shortest = min((steps for steps, _ in repeats), key=len)
        mean = np.mean([values[: len(shortest)] for _, values in repeats], axis=0)
        style = line if len(curves) > len(PALETTE) else "-"
        axis.plot(shortest, 100 * mean, color=colour, linestyle=style, linewidth=2, label=name)
    axis.set(xlabel="optimizer steps", ylabel="validation balanced accuracy (%)")
    axis.grid(axis="y", color="#EEEEEE")
    tidy(axis)
    legend_above(figure, *axis.get_legend_handles_labels())
    caption(figure, f"runs; {text}; thin lines: repeats, thick lines: their mean", n=sum(map(len, curves.values())),
            synthetic=synthetic)  # fmt: skip
    return figure
