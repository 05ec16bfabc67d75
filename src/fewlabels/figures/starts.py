"""Finetuning from several starts: which is best with how many labels, and by how much."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.efficiency import STYLES
from fewlabels.figures.matrices import heat
from fewlabels.figures.style import INK, MUTED, PALETTE, caption, legend_above, new_figure, tidy
from fewlabels.probes import interval

if TYPE_CHECKING:
    import pandas as pd


def bars_figure(table: "pd.DataFrame", *, classes: int, tested: int, text: str, synthetic: bool = False) -> Any:
    """Draw one bar per start with its 95% interval, and every draw of labels as points joined across the starts.

    Args:
        table: Columns start, seed, accuracy (a share of 1), of one number of labels.
        classes: Number of classes; one over it is the accuracy of guessing.
        tested: Number of test images.
        text: How many labels, for the caption.
        synthetic: Say so on the figure.

    Returns:
        A matplotlib Figure.
    """
    starts = list(table["start"].unique())
    figure = new_figure(1.5 * len(starts) + 2.2, 4.4)
    axis, names = figure.subplots(), []
    for place, (start, colour) in enumerate(zip(starts, PALETTE, strict=False)):
        mean, half = interval(100 * table.loc[table["start"] == start, "accuracy"].to_numpy())
        axis.bar(place, mean, width=0.62, color=colour, alpha=0.55)
        axis.errorbar(place, mean, 0 if np.isnan(half) else half, color=INK, capsize=5, linewidth=1.4)
        names.append(f"{start}\n{mean:.1f}" + ("" if np.isnan(half) else f" ± {half:.1f}"))
    for _, draw in table.groupby("seed"):
        known = draw.set_index("start")["accuracy"]
        places = [place for place, start in enumerate(starts) if start in known]
        axis.plot(places, [100 * known[starts[place]] for place in places], "o-", color=MUTED, markersize=3,
                  linewidth=0.6, alpha=0.7)  # fmt: skip
    axis.axhline(100 / classes, color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
    guessing = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom", "fontsize": 8, "color": MUTED}
    axis.annotate("guessing", (1, 100 / classes), **guessing)
    axis.set_xticks(range(len(starts)), names)
    axis.set(ylabel="test accuracy (%)", ylim=(0, 100))
    tidy(axis)
    text = f"test images; {text}; {table['seed'].nunique()} draws of labels (grey), bars: 95% intervals"
    caption(figure, text, n=tested, synthetic=synthetic)
    return figure


def fractions_figure(table: "pd.DataFrame", *, classes: int, tested: int, synthetic: bool = False) -> Any:
    """Draw test accuracy against the number of labels, a curve per start.

    Args:
        table: Columns start, labels, seed, accuracy (a share of 1).
        classes: Number of classes.
        tested: Number of test images.
        synthetic: Say so on the figure.

    Returns:
        A matplotlib Figure.
    """
    figure = new_figure(6.6, 4.6)
    axis = figure.subplots()
    for (start, rows), colour, style in zip(table.groupby("start", sort=False), PALETTE, STYLES, strict=False):
        found = [(labels, *interval(100 * part["accuracy"].to_numpy())) for labels, part in rows.groupby("labels")]
        labels, means, halves = (np.array(column, float) for column in zip(*found, strict=True))
        axis.errorbar(labels, means, np.nan_to_num(halves), color=colour, linestyle=style[0], marker=style[1],
                      markersize=5, capsize=3, label=str(start))  # fmt: skip
    axis.axhline(100 / classes, color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
    axis.set(xscale="log", xlabel="labelled images", ylabel="test accuracy (%)")
    axis.minorticks_off()
    budgets = sorted(int(labels) for labels in table["labels"].unique())
    axis.set_xticks(budgets, [f"{labels:,}" for labels in budgets])
    axis.grid(axis="y", color="#EEEEEE")
    tidy(axis)
    handles, names = axis.get_legend_handles_labels()
    legend_above(figure, handles, names)
    draws = sorted({len(cell) for _, cell in table.groupby(["start", "labels"])})
    over = f"{draws[0]}–{draws[-1]}" if len(draws) > 1 else f"{draws[0]}"
    text = f"test images; means over {over} draws, 95% intervals; dotted: guessing"
    caption(figure, text, n=tested, synthetic=synthetic)
    return figure


def learning_figure(
    curves: Mapping[str, Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]],
    *,
    text: str,
    synthetic: bool = False,
) -> Any:
    """Draw validation accuracy against optimiser steps: a thin line per draw, a thick one for each start's mean.

    Args:
        curves: Start to (steps [M], shares of 1 [M]) per draw; draws may have stopped early.
        text: How many labels, for the caption.
        synthetic: Say so on the figure.

    Returns:
        A matplotlib Figure.
    """
    figure = new_figure(6.6, 4.2)
    axis = figure.subplots()
    for (start, draws), colour in zip(curves.items(), PALETTE, strict=False):
        for steps, values in draws:
            axis.plot(steps, 100 * values, color=colour, linewidth=0.5, alpha=0.5)
        shared = min((steps for steps, _ in draws), key=len)
        mean = np.mean([values[: len(shared)] for _, values in draws], axis=0)
        axis.plot(shared, 100 * mean, color=colour, linewidth=2, label=start)
    axis.set(xlabel="optimiser steps", ylabel="balanced validation accuracy (%)")
    axis.grid(axis="y", color="#EEEEEE")
    tidy(axis)
    handles, names = axis.get_legend_handles_labels()
    legend_above(figure, handles, names)
    caption(figure, f"runs; {text}; thin: draws, thick: their mean; the test part is looked at once, at the end",
            n=sum(map(len, curves.values())), synthetic=synthetic)  # fmt: skip
    return figure


def confusions_figure(
    counts: Mapping[str, NDArray[Any]], names: Sequence[str], *, text: str, synthetic: bool = False
) -> Any:
    """Draw what was told [K, K] from every start beside each other, rows being the truth, in per cent of the row.

    Returns:
        A matplotlib Figure.
    """
    side = 2.0 + 0.42 * len(names)
    figure = new_figure(side * len(counts) + 1.0, side + 0.9)
    axes = figure.subplots(1, len(counts), squeeze=False)[0]
    for place, (axis, (start, table)) in enumerate(zip(axes, counts.items(), strict=True)):
        shares = 100 * table / table.sum(1, keepdims=True).clip(1)
        heat(axis, shares, names, [""] * len(names) if place else names, start, "{:.0f}", limits=(0, 100))
        axis.set(xlabel="told")
    axes[0].set_ylabel("true")
    caption(figure, f"answers to test images from each start; {text}; per cent of each row",
            n=int(next(iter(counts.values())).sum()), synthetic=synthetic)  # fmt: skip
    return figure
