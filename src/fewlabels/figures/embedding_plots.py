"""Plots of the embedding space: UMAP, and a pair plot of the leading principal components."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.style import MUTED, caption, class_colours, legend_above, new_figure, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def umap_figure(
    panels: Mapping[str, NDArray[np.bool_]],
    plane: NDArray[Any],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    text: str,
    synthetic: bool = False,
) -> "Figure":
    """Draw one panel per split in a common plane, the split coloured by class over all samples in grey.

    Splits that share classes share their colours; a split with other classes uses the palette from its start.

    Args:
        panels: Split to mask bool [N].
        plane: [N, 2].
        labels: int64 [N].
        classes: Names that the labels index into.
        text: How the plane was computed, for the caption, see `caption`.
        synthetic: Whether the images are synthetic.
    """
    single = len(panels) == 1
    figure = new_figure(max(4 * len(panels) + 0.2, 6.4), 6.6 if single else 5.1)
    size = float(np.clip(6000 / len(plane), 2, 18))
    for axis, (split, mask) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        axis.scatter(*plane.T, s=size, color="#EEEEEE", linewidths=0, rasterized=True)
        for name, colour, members in _panel_colours(mask, panels, labels, classes):
            axis.scatter(*plane[members].T, s=size, color=colour, linewidths=0, alpha=0.8, rasterized=True,
                         label=shortened(name))  # fmt: skip
        if not single:
            axis.legend(loc="upper left", bbox_to_anchor=(0, 0), ncols=2, frameon=False, fontsize=8, markerscale=1.5,
                        handletextpad=0.2, columnspacing=0.8)  # fmt: skip
        axis.set(xticks=[], yticks=[], title=f"{split} (n = {int(mask.sum()):,})")
        axis.spines[:].set_color(MUTED)
    if single:
        legend_above(figure, *figure.axes[0].get_legend_handles_labels())
    caption(figure, text, n=len(plane), synthetic=synthetic)
    return figure


def _panel_colours(
    mask: NDArray[np.bool_], panels: Mapping[str, NDArray[np.bool_]], labels: NDArray[np.int64], classes: Sequence[str]
) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """Groups of a panel's samples; colours are assigned jointly for all panels that share a class with it."""
    related = [other for other in panels.values() if np.isin(labels[other & (labels >= 0)], labels[mask]).any()]
    groups = class_colours(np.where(np.any([mask, *related], axis=0), labels, -2), classes)
    return [(name, colour, members & mask) for name, colour, members in groups if (members & mask).any()]


def pair_plot_figure(
    components: NDArray[Any],
    variance: NDArray[np.float64],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    synthetic: bool = False,
) -> "Figure":
    """Draw a pair plot of principal components, coloured by class.

    Args:
        components: [N, K], the leading ones.
        variance: [K] fraction of the variance that each explains.
        labels: int64 [N].
        classes: Names that the labels index into.
        synthetic: Whether the images are synthetic.
    """
    import matplotlib.pyplot as plt
    import pandas as pd
    import seaborn as sns

    groups = class_colours(labels, classes)
    names = [f"PC {k} ({fraction:.0%})" for k, fraction in enumerate(variance, 1)]
    table = pd.DataFrame(components, columns=names).assign(group="")
    for name, _, members in groups:
        table.loc[members, "group"] = name
    colours = {name: colour for name, colour, _ in groups}
    grid = sns.PairGrid(table, hue="group", hue_order=list(colours), palette=colours, corner=True, height=1.9,
                        diag_sharey=False)  # fmt: skip
    grid.map_lower(sns.scatterplot, s=float(np.clip(6000 / len(table), 3, 18)), linewidth=0, alpha=0.7)
    grid.map_diag(sns.kdeplot, common_norm=False, linewidth=1.2, warn_singular=False)
    figure: Figure = grid.figure
    _class_legend(figure, colours)
    figure.suptitle("Principal components of the embeddings (explained variance)", fontsize=11)
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    caption(figure, "samples", n=len(table), synthetic=synthetic)
    plt.close(figure)
    return figure


def _class_legend(figure: "Figure", colours: Mapping[str, str]) -> None:
    """Add a legend of class names and colours in the empty corner above the diagonal."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], marker="o", linestyle="", color=colour) for colour in colours.values()]
    names = [shortened(name) for name in colours]
    figure.legend(handles, names, loc="upper right", frameon=False, fontsize=9, bbox_to_anchor=(0.98, 0.95))
