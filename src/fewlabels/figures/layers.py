"""Where in the network the classes can be read best."""

from typing import TYPE_CHECKING, Any

from fewlabels.figures.style import MUTED, PALETTE, caption, new_figure, tidy
from fewlabels.probes import interval

if TYPE_CHECKING:
    import pandas as pd


def layers_figure(table: "pd.DataFrame", *, labels: int, classes: int, tested: int, synthetic: bool = False) -> Any:
    """Draw the linear probe's accuracy after every block.

    Args:
        table: Columns source, layer, draw, balanced_accuracy (a share of 1); layers from the input to the output.
        labels: How many the probe was given.
        classes: Number of classes.
        tested: Number of images tested on.
        synthetic: Say so on the figure.
    """
    layers = list(table["layer"].unique())
    figure = new_figure(max(5.0, 0.9 * len(layers) + 2), 3.8)
    axis = figure.subplots()
    for source, colour, marker in zip(table["source"].unique(), PALETTE, "os^D", strict=False):
        rows = table[table["source"] == source]
        found = [interval(100 * rows.loc[rows["layer"] == layer, "balanced_accuracy"]) for layer in layers]
        means, halves = zip(*found, strict=True)
        axis.errorbar(range(len(layers)), means, halves, color=colour, marker=marker, capsize=3, label=source)
    axis.axhline(100 / classes, color=MUTED, linewidth=1, linestyle=(0, (1, 2)), label="guessing")
    axis.set_xticks(range(len(layers)), layers)
    axis.set(
        xlim=(-0.4, len(layers) - 0.6),
        ylabel="balanced accuracy (%)",
        xlabel="block, its output averaged over the image",
    )
    axis.legend(frameon=False, fontsize=9)
    tidy(axis)
    draws = table["draw"].nunique()
    caption(figure, f"test images; linear probe, {labels} labels; 95% intervals over {draws} draws", n=tested,
            synthetic=synthetic)  # fmt: skip
    return figure
