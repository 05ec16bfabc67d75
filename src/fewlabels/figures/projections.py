"""Embeddings in a plane, and their leading components against each other."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.style import MUTED, caption, class_colours, legend_above, new_figure, shortened


def plane_figure(
    panels: Mapping[str, NDArray[np.bool_]],
    plane: NDArray[Any],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    text: str,
    synthetic: bool = False,
) -> Any:
    """Draw one panel per part of the data in one common plane, each part in colour over all in pale grey.

    Parts that share classes share their colours; a part with classes of its own has the palette to itself.

    Args:
        panels: Title to mask bool [N].
        plane: [N, 2].
        labels: int64 [N].
        classes: Names that the labels index into.
        text: How the plane was made, for the caption.
        synthetic: Say so on the figure.
    """
    figure = new_figure(max(4 * len(panels) + 0.2, 6.4), 5.1 if len(panels) > 1 else 6.6)
    handles: dict[str, Any] = {}
    size = float(np.clip(6000 / len(plane), 2, 18))
    for axis, (title, mask) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        axis.scatter(*plane.T, s=size, color="#EEEEEE", linewidths=0, rasterized=True)
        groups = [(name, colour, own & mask) for name, colour, own in _colours(mask, panels, labels, classes)]
        groups = [group for group in groups if group[2].any()]
        for name, colour, own in groups:
            points = axis.scatter(*plane[own].T, s=size, color=colour, linewidths=0, alpha=0.8, rasterized=True)
            handles[shortened(name)] = points
        if len(panels) > 1:
            _names_below(axis, groups)
        axis.set(xticks=[], yticks=[], title=f"{title}, n = {int(mask.sum()):,}")
        axis.spines[:].set_color(MUTED)
    if len(panels) == 1:
        legend_above(figure, list(handles.values()), list(handles))
    caption(figure, text, n=len(plane), synthetic=synthetic)
    return figure


def _colours(
    mask: NDArray[np.bool_], panels: Mapping[str, NDArray[np.bool_]], labels: NDArray[np.int64], classes: Sequence[str]
) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """Who is drawn how in a panel: decided by it and all panels that show some of its classes."""
    kin = [other for other in panels.values() if np.isin(labels[other & (labels >= 0)], labels[mask]).any()]
    return class_colours(np.where(np.any([mask, *kin], axis=0), labels, -2), classes)


def _names_below(axis: Any, groups: Sequence[tuple[str, str, NDArray[np.bool_]]]) -> None:
    """Below a panel, the names in the colours of their points."""
    for number, (name, colour, _) in enumerate(groups):
        axis.annotate(shortened(name), (0.02 + 0.5 * (number % 2), -0.04 - 0.05 * (number // 2)),
                      xycoords="axes fraction", color=colour, fontsize=8, va="top")  # fmt: skip


def components_figure(
    components: NDArray[Any],
    shares: NDArray[np.float64],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    synthetic: bool = False,
) -> Any:
    """Draw a pair plot of principal components [N, K], coloured by class.

    Args:
        components: The leading ones.
        shares: [K] of the variance that each explains.
        labels: int64 [N].
        classes: Names that the labels index into.
        synthetic: Say so on the figure.
    """
    import matplotlib.pyplot as plt
    import pandas as pd
    import seaborn as sns

    groups = class_colours(labels, classes)
    names = [f"component {k + 1} ({share:.0%})" for k, share in enumerate(shares)]
    table = pd.DataFrame(components, columns=names).assign(kind="")
    for name, _, own in groups:
        table.loc[own, "kind"] = shortened(name)
    colours = {shortened(name): colour for name, colour, _ in groups}
    grid = sns.PairGrid(table, hue="kind", hue_order=list(colours), palette=colours, corner=True, height=1.9)
    grid.map_lower(sns.scatterplot, s=float(np.clip(6000 / len(table), 3, 18)), linewidth=0, alpha=0.7)
    grid.map_diag(sns.kdeplot, common_norm=False, linewidth=1.2, warn_singular=False)
    grid.figure.legend(
        [plt.Line2D([], [], marker="o", linestyle="", color=colour) for colour in colours.values()], list(colours),
        loc="upper right", frameon=False, fontsize=9, bbox_to_anchor=(0.98, 0.95),
    )  # fmt: skip
    grid.figure.suptitle("Principal components of the embeddings, with their share of the variance", fontsize=11)
    grid.figure.tight_layout(rect=(0, 0.03, 1, 1))
    caption(grid.figure, "classes that are many are drawn together" if len(groups) < len(classes) else "",
            n=len(table), synthetic=synthetic)  # fmt: skip
    plt.close(grid.figure)
    return grid.figure
