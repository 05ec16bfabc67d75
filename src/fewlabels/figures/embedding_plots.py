"""Plots of the embedding space: UMAP, and a pair plot of the leading principal components."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.names import shown_names
from fewlabels.figures.style import MUTED, caption, class_colours, legend_above, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class HoverImages(NamedTuple):
    """Points of a figure that have an image, which the report shows under the pointer.

    Attributes:
        axes: int64 [H], number of the point's axis in the figure.
        points: [H, 2] in data coordinates.
        images: uint8 [H, C, S, S].
        texts: [H], such as path and class.
    """

    axes: NDArray[np.int64]
    points: NDArray[Any]
    images: NDArray[np.uint8]
    texts: Sequence[str]


Groups = Sequence[tuple[str, str, NDArray[np.bool_]]]
"""Name, colour and mask bool [N] of every group of samples."""
MAX_LENGTH = 22
"""Of names in legends, in characters."""


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
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    groups = [_panel_colours(mask, panels, labels, classes) for mask in panels.values()]
    names = list(dict.fromkeys(name for group in groups for name, _, _ in group))
    shown = dict(zip(names, shown_names(figure, names, MAX_LENGTH), strict=True))
    for axis, (split, mask), group in zip(axes, panels.items(), groups, strict=True):
        _draw_groups(axis, plane, [(shown[name], colour, members) for name, colour, members in group], size)
        if not single:
            axis.legend(loc="upper left", bbox_to_anchor=(0, 0), ncols=2, frameon=False, fontsize=8, markerscale=1.5,
                        handletextpad=0.2, columnspacing=0.8)  # fmt: skip
        axis.set(xticks=[], yticks=[], title=f"{split} (n = {int(mask.sum()):,})")
        axis.spines[:].set_color(MUTED)
    if single:
        legend_above(figure, *figure.axes[0].get_legend_handles_labels())
    caption(figure, text, n=len(plane), synthetic=synthetic)
    return figure


def _draw_groups(axis: "Axes", plane: NDArray[Any], groups: Groups, size: float) -> None:
    x, y = plane.T
    axis.scatter(x, y, s=size, color="#EEEEEE", linewidths=0, rasterized=True)
    for name, colour, members in groups:
        axis.scatter(x[members], y[members], s=size, color=colour, linewidths=0, alpha=0.8, rasterized=True, label=name)


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
    groups, count = class_colours(labels, classes), components.shape[1]
    figure = new_figure(2.1 * count + 0.4, 1.9 * count + 0.8)
    figure.suptitle("Principal components of the embeddings (explained variance)", fontsize=11)
    axes: NDArray[Any] = figure.subplots(count, count, sharex="col", squeeze=False)
    titles = [f"PC {k} ({fraction:.0%})" for k, fraction in enumerate(variance, 1)]
    for row, column in np.ndindex(count, count):
        axis: Any = axes[row, column]
        if column > row:
            axis.remove()
            continue
        _draw_pair(axis, components[:, column], components[:, row] if column < row else None, groups)
        axis.set(xlabel=titles[column] if row == count - 1 else "", ylabel=titles[row] if 0 == column < row else "")
        tidy(axis)
    _class_legend(figure, groups)
    caption(figure, "samples", n=len(components), synthetic=synthetic)
    return figure


def _draw_pair(axis: "Axes", x: NDArray[Any], y: NDArray[Any] | None, groups: Groups) -> None:
    """Draw two components against each other, or the density of one; groups by number, since names may be anything."""
    import seaborn as sns

    group = np.select([members for _, _, members in groups], range(len(groups)))
    shared = {"hue": group, "palette": [colour for _, colour, _ in groups], "legend": False}
    if y is None:
        sns.kdeplot(x=x, ax=axis, common_norm=False, linewidth=1.2, warn_singular=False, **shared)
        axis.set(yticks=[])
    else:
        size = float(np.clip(6000 / len(x), 3, 18))
        sns.scatterplot(x=x, y=y, ax=axis, linewidth=0, alpha=0.7, s=size, **shared)


def _class_legend(figure: "Figure", groups: Groups) -> None:
    """Add a legend of class names and colours in the empty corner above the diagonal."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], marker="o", linestyle="", color=colour) for _, colour, _ in groups]
    names = shown_names(figure, [name for name, _, _ in groups], MAX_LENGTH)
    figure.legend(handles, names, loc="upper right", frameon=False, fontsize=9, bbox_to_anchor=(0.98, 0.95))


def add_hover(figure: "Figure", hover: HoverImages) -> None:
    """Let the report show images of a figure's points; a figure in a file has none."""
    vars(figure)["fewlabels_hover"] = hover


def hover_of(figure: "Figure") -> tuple[HoverImages, NDArray[np.float64]] | None:
    """What `add_hover` added to a figure that has been drawn, and where its points are.

    Returns:
        The points, and their places [H, 2] as fractions of the width, from the left, and of the height, from the top.
    """
    hover: HoverImages | None = vars(figure).get("fewlabels_hover")
    if hover is None:
        return None
    pixels = [figure.axes[k].transData.transform(point) for k, point in zip(hover.axes, hover.points, strict=True)]
    places = np.asarray(pixels) / [figure.bbox.width, figure.bbox.height]
    return hover, np.stack([places[:, 0], 1 - places[:, 1]], 1)
