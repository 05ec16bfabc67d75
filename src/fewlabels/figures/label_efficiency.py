"""Label efficiency: accuracy against the number of labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fewlabels.figures.names import shown_names
from fewlabels.figures.style import (
    caption,
    chance_line,
    curve_styles,
    legend_above,
    legend_entries,
    new_figure,
    tidy,
)  # fmt: skip
from fewlabels.probing.intervals import MEAN, SESSION, interval, session_spread
from fewlabels.probing.probes import TITLES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def label_efficiency_figure(
    table: "pd.DataFrame",
    *,
    classes: int,
    tested: int,
    population: str,
    draws: str = "random",
    runs: int = 1,
    synthetic: bool = False,
) -> "Figure":
    """Draw one panel per probe and one curve per source, with bands of its intervals.

    Args:
        table: Columns source, probe, labels, repeat and balanced_accuracy (in [0, 1]).
        classes: Number of classes; the chance level is its inverse.
        tested: Number of test images.
        population: Which images these are, such as "3 classes held out from pretraining".
        draws: How labels were drawn, "random" or "balanced".
        runs: Pretrainings per curve, at most; if several, a repeat is the mean of one, and the band is over these.
        synthetic: Whether the images are synthetic.
    """
    probes, sources = list(table["probe"].unique()), list(table["source"].unique())
    figure = new_figure(max(3.2 * len(probes) + 0.4, 8.0), 4.2)
    axes = figure.subplots(1, len(probes), sharey=True, squeeze=False)[0]
    names = shown_names(figure, sources)
    for axis, probe in zip(axes, probes, strict=True):
        rows = table[table["probe"] == probe]
        for source, name, (colour, *style) in zip(sources, names, curve_styles(len(sources)), strict=True):
            _curve(axis, rows[rows["source"] == source], name, colour, style, session=runs == 1)
        chance_line(axis, classes)
        axis.set(xscale="log", title=TITLES.get(probe, probe), xlabel="labels")
        axis.grid(axis="y", color="#EEEEEE")
        _label_ticks(axis, sorted(table["labels"].unique()))
        tidy(axis)
    low, high = axes[0].get_ylim()
    axes[0].set(ylim=(max(low, 0), min(high, 100)), ylabel="balanced accuracy (%)")
    text = f"test images of {population}; {_over(table['repeat'].nunique(), draws, runs)}"
    caption(figure, text, n=tested, synthetic=synthetic)
    legend_above(figure, *legend_entries(axes[0]))
    return figure


def _over(repeats: int, draws: str, runs: int) -> str:
    """What the means and bands are over."""
    if runs > 1:
        return f"means over up to {runs} pretrainings, each over {draws} draws of labels; band: 95% interval over these"
    if repeats > 1:
        return f"means over {repeats} {draws} draws of labels; dark band: {MEAN}; light band: {SESSION}"
    return f"1 {draws} draw of labels"


def _curve(
    axis: "Axes", rows: "pd.DataFrame", source: str, colour: str, style: Sequence[str], *, session: bool
) -> None:
    means, low, high = zip(
        *(interval(100 * part["balanced_accuracy"].to_numpy()) for _, part in rows.groupby("labels")), strict=True
    )
    labels = sorted(rows["labels"].unique())
    axis.plot(labels, means, style[0], color=colour, marker=style[1], markersize=3.5, linewidth=1.6, label=source)
    axis.fill_between(labels, low, high, color=colour, alpha=0.25, linewidth=0)
    if not session:
        return
    ends = [session_spread(part["balanced_accuracy"].to_numpy()) for _, part in rows.groupby("labels")]
    low, high = (tuple(100 * end for end in side) for side in zip(*ends, strict=True))
    axis.fill_between(labels, low, high, color=colour, alpha=0.08, linewidth=0)


def _label_ticks(axis: "Axes", budgets: Sequence[int]) -> None:
    """Set ticks at 10, 30, 100, … labels and at the last budget."""
    ticks = [b for b in budgets if str(b).rstrip("0") in ("1", "3") and b < 0.5 * budgets[-1]] + [budgets[-1]]
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.minorticks_off()
