"""Accuracy against the number of labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fewlabels.figures.style import MUTED, PALETTE, caption, legend_above, new_figure, tidy
from fewlabels.probes import TITLES, interval

if TYPE_CHECKING:
    import pandas as pd

STYLES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"), ("-", "v"), ("--", "P"), (":", "X"), ("-.", "*"))


def efficiency_figure(table: "pd.DataFrame", *, classes: int, tested: int, where: str, synthetic: bool = False) -> Any:
    """Draw one panel per probe, one curve per source, with 95% intervals over the draws of labels.

    Args:
        table: As `probes.label_efficiency` returns it.
        classes: Number of classes; one over it is the accuracy of guessing.
        tested: Number of images tested on.
        where: What they are, such as "3 classes unseen in pretraining".
        synthetic: Say so on the figure.

    Returns:
        A matplotlib Figure.
    """
    probes, sources = list(table["probe"].unique()), list(table["source"].unique())
    figure = new_figure(4.1 * len(probes) + 0.4, 4.6)
    axes = figure.subplots(1, len(probes), sharey=True, squeeze=False)[0]
    for axis, probe in zip(axes, probes, strict=True):
        for source, colour, style in zip(sources, PALETTE, STYLES, strict=False):
            _curve(axis, table.query("probe == @probe and source == @source"), source, colour, style)
        axis.axhline(100 / classes, color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
        axis.set(xscale="log", title=TITLES.get(probe, probe), xlabel="labels in all")
        axis.grid(axis="y", color="#EEEEEE")
        _label_budgets(axis, sorted(table["labels"].unique()))
        tidy(axis)
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(max(low, 0), min(high, 100))
    axes[0].set_ylabel("balanced accuracy (%)")
    axes[0].annotate("guessing", (1, 100 / classes), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                     fontsize=8, color=MUTED)  # fmt: skip
    draws = table["draw"].nunique()
    caption(figure, f"test images of {where}; means over {draws} draws of labels, bands: 95% intervals",
            n=tested, synthetic=synthetic)  # fmt: skip
    handles, _ = axes[0].get_legend_handles_labels()
    legend_above(figure, handles, sources)
    return figure


def _curve(axis: Any, rows: "pd.DataFrame", source: str, colour: str, style: tuple[str, str]) -> None:
    means, halves = zip(
        *(interval(100 * part["balanced_accuracy"].to_numpy()) for _, part in rows.groupby("labels")), strict=True
    )
    labels = sorted(rows["labels"].unique())
    axis.plot(labels, means, style[0], color=colour, marker=style[1], markersize=3.5, linewidth=1.6, label=source)
    low, high = ([m + sign * h for m, h in zip(means, halves, strict=True)] for sign in (-1, 1))
    axis.fill_between(labels, low, high, color=colour, alpha=0.15, linewidth=0)


def _label_budgets(axis: Any, budgets: Sequence[int]) -> None:
    """Ticks at round numbers and at the last budget, as plain numbers."""
    round_ones = [b for b in budgets if str(b).rstrip("0") in ("1", "3") and b < 0.5 * budgets[-1]]
    ticks = [*round_ones, budgets[-1]]
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.minorticks_off()
