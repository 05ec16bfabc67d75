"""Layer-wise probe: accuracy of a linear probe on the output of every block of the network."""

from typing import TYPE_CHECKING

import numpy as np

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

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def layerwise_probe_figure(
    table: "pd.DataFrame", *, labels: int, classes: int, tested: int, draws: str = "random", synthetic: bool = False
) -> "Figure":
    """Draw the balanced accuracy of a linear probe after every block, one curve per source.

    Bars with caps are the mean's 95% interval, thin lines the spread of one labelling session.

    Args:
        table: Columns source, layer, repeat and balanced_accuracy (in [0, 1]); layers from the input to the output.
        labels: Number of labels that the probe was trained on.
        classes: Number of classes; the chance level is its inverse.
        tested: Number of test images.
        draws: How labels were drawn, "random" or "balanced".
        synthetic: Whether the images are synthetic.
    """
    layers = list(table["layer"].unique())
    figure = new_figure(max(8.0, 0.9 * len(layers) + 2), 3.8)
    axis = figure.subplots()
    sources = list(table["source"].unique())
    names, styles = shown_names(figure, sources), curve_styles(len(sources))
    for source, name, (colour, line, marker) in zip(sources, names, styles, strict=True):
        rows = table[table["source"] == source]
        intervals = [interval(100 * rows.loc[rows["layer"] == layer, "balanced_accuracy"]) for layer in layers]
        means, sides = [each.mean for each in intervals], np.array([each.sides for each in intervals]).T
        axis.errorbar(range(len(layers)), means, sides, color=colour, linestyle=line, marker=marker, capsize=3,
                      label=name)  # fmt: skip
        ends = [session_spread(rows.loc[rows["layer"] == layer, "balanced_accuracy"]) for layer in layers]
        axis.vlines(range(len(layers)), *(100 * np.array(ends).T), color=colour, alpha=0.35, linewidth=1)
    chance_line(axis, classes)
    axis.set_xticks(range(len(layers)), layers)
    axis.set(
        xlim=(-0.4, len(layers) - 0.6), ylabel="balanced accuracy (%)", xlabel="block (output averaged over positions)"
    )
    tidy(axis)
    legend_above(figure, *legend_entries(axis))
    repeats = table["repeat"].nunique()
    over = f"means over {repeats} {draws} draws; bars with caps: {MEAN}; thin lines: {SESSION}"
    text = f"test images; linear probe, {labels:,} labels; {over if repeats > 1 else f'1 {draws} draw'}"
    caption(figure, text, n=tested, synthetic=synthetic)
    return figure
