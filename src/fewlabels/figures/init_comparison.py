"""Comparison of finetunings from several initial weights (inits)."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from fewlabels.figures.names import shown_names
from fewlabels.figures.style import (
    CHANCE,
    INK,
    MUTED,
    caption,
    chance_line,
    curve_styles,
    legend_above,
    legend_entries,
    new_figure,
    repeats_text,
    tidy,
)  # fmt: skip
from fewlabels.probing.intervals import format_interval, interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def bars_figure(table: "pd.DataFrame", *, classes: int, tested: int, text: str, synthetic: bool = False) -> "Figure":
    """Draw the mean test accuracy of every init with its 95% interval, and every repeat as a line across the inits.

    Args:
        table: Columns init, seed and accuracy (in [0, 1]), for one label fraction; a seed is a repeat.
        classes: Number of classes; the chance level is its inverse.
        tested: Number of test images.
        text: Number of labels, for the caption.
        synthetic: Whether the images are synthetic.
    """
    inits = list(table["init"].unique())
    figure = new_figure(1.5 * len(inits) + 2.2, 4.4)
    axis = figure.subplots()
    names = []
    shown, styles = shown_names(figure, inits), curve_styles(len(inits))
    for x, (init, name, (colour, *_)) in enumerate(zip(inits, shown, styles, strict=True)):
        accuracy = interval(100 * table.loc[table["init"] == init, "accuracy"].to_numpy())
        axis.bar(x, accuracy.mean, width=0.62, color=colour, alpha=0.55)
        axis.errorbar(x, accuracy.mean, np.array([accuracy.sides]).T, color=INK, capsize=5, linewidth=1.4)
        names.append(f"{textwrap.fill(name, 18)}\n{format_interval(accuracy)}")
    _draw_repeats(axis, table, inits)
    chance_line(axis, classes)
    axis.annotate(f" {CHANCE}", (1, 100 / classes), xycoords=("axes fraction", "data"), va="center", fontsize=8,
                  color=MUTED)  # fmt: skip
    axis.set_xticks(range(len(inits)), names)
    axis.set(ylabel="test accuracy (%)", ylim=(0, 100))
    tidy(axis)
    repeats = table["seed"].nunique()
    text = f"test images; {text}; {repeats_text(repeats)}" + ("; grey: each repeat" if repeats > 1 else "")
    caption(figure, text, n=tested, synthetic=synthetic)
    return figure


def _draw_repeats(axis: "Axes", table: "pd.DataFrame", inits: list[str]) -> None:
    for _, repeat in table.groupby("seed"):
        accuracies = repeat.set_index("init")["accuracy"]
        present = [x for x, init in enumerate(inits) if init in accuracies]
        axis.plot(present, [100 * accuracies[inits[x]] for x in present], "o-", color=MUTED, markersize=3,
                  linewidth=0.6, alpha=0.7)  # fmt: skip


def fractions_figure(table: "pd.DataFrame", *, classes: int, tested: int, synthetic: bool = False) -> "Figure":
    """Draw test accuracy against the number of labels, one curve per init.

    Args:
        table: Columns init, labels, seed and accuracy (in [0, 1]); a seed is a repeat.
        classes: Number of classes; the chance level is its inverse.
        tested: Number of test images.
        synthetic: Whether the images are synthetic.
    """
    figure = new_figure(6.6, 4.6)
    axis = figure.subplots()
    inits = list(table["init"].unique())
    names, styles = shown_names(figure, inits), curve_styles(len(inits))
    for init, name, (colour, line, marker) in zip(inits, names, styles, strict=True):
        rows = table[table["init"] == init]
        found = {labels: interval(100 * part["accuracy"].to_numpy()) for labels, part in rows.groupby("labels")}
        means, sides = [each.mean for each in found.values()], np.array([each.sides for each in found.values()]).T
        axis.errorbar([*found], means, sides, color=colour, linestyle=line, marker=marker,
                      markersize=5, capsize=3, label=name)  # fmt: skip
    chance_line(axis, classes)
    axis.set(xscale="log", xlabel="labels", ylabel="test accuracy (%)")
    axis.minorticks_off()
    budgets = sorted(int(labels) for labels in table["labels"].unique())
    axis.set_xticks(budgets, [f"{labels:,}" for labels in budgets])
    axis.grid(axis="y", color="#EEEEEE")
    tidy(axis)
    legend_above(figure, *legend_entries(axis))
    repeats = sorted({n for init in inits for n in table.loc[table["init"] == init, "labels"].value_counts()})
    over = f"{repeats[0]}–{repeats[-1]}" if len(repeats) > 1 else repeats[0]
    caption(figure, f"test images; {repeats_text(over)}", n=tested, synthetic=synthetic)
    return figure
