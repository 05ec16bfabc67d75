"""Galleries of images: nearest to and furthest from the class means, nearest neighbours, and a contact sheet."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.names import shown_names
from fewlabels.figures.style import MUTED, NEGATIVE, POSITIVE, caption, new_figure, thumbnail
from fewlabels.probing.class_geometry import Gallery

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHEET_COLUMNS = 10
MAX_SHOWN = 200
"""Images of a contact sheet; more are too many to look at."""
BLOCKS = ("nearest to the class mean", "furthest from the class mean", "nearest of other classes")


def gallery_figure(
    galleries: Sequence[Gallery],
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    synthetic: bool = False,
) -> "Figure":
    """Draw a row per class, and in it three blocks of images.

    Args:
        galleries: Rows of `images`, and angles in degrees.
        images: uint8 [N, C, H, W].
        labels: int64 [N].
        classes: Names that the labels index into.
        synthetic: Whether the images are synthetic.
    """
    count = max(len(gallery.nearest) for gallery in galleries)
    figure = new_figure(3 * count * 0.66 + 2.0, 1.1 * len(galleries) + 0.9)
    parts: Any = figure.subfigures(1, 3, wspace=0.02, width_ratios=[0.66 * count + space for space in (1.6, 0.3, 0.3)])
    row_names = shown_names(figure, [gallery.name for gallery in galleries], 24)
    others = np.unique(np.concatenate([labels[gallery.intruders] for gallery in galleries]))
    shown = shown_names(figure, [classes[label] if label >= 0 else "unlabelled" for label in others], 18)
    names = {label: textwrap.fill(name, 10) for label, name in zip(others, shown, strict=True)}
    blank = "\n".join([" "] * max((name.count("\n") + 1 for name in names.values()), default=1))
    for block, (part, title) in enumerate(zip(parts, BLOCKS, strict=True)):
        part.suptitle(title, fontsize=10)
        grid = part.subplots(len(galleries), count, squeeze=False)
        for axes, gallery, row_name in zip(grid, galleries, row_names, strict=True):
            for axis in axes:
                axis.axis("off")
            chosen = (gallery.nearest, gallery.furthest, gallery.intruders)[block]
            for axis, row, angle in zip(axes, chosen, gallery.angles[block], strict=False):
                axis.axis("on")
                thumbnail(axis, images[row], f"{angle:.0f}°\n{names[labels[row]] if block == 2 else blank}")
            if block == 0:
                axes[0].axis("on")
                _name_row(axes[0], row_name.replace(" ", "\n", 1))
    caption(figure, "images; below each: angle to its row's class mean", n=len(images), synthetic=synthetic)
    return figure


def _name_row(axis: "Axes", name: str) -> None:
    axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8, labelpad=8)


def neighbours_figure(
    queries: NDArray[np.uint8],
    query_labels: NDArray[np.int64],
    neighbours: NDArray[np.uint8],
    neighbour_labels: NDArray[np.int64],
    angles: NDArray[np.float64],
    classes: Sequence[str],
    *,
    n: int,
    synthetic: bool = False,
) -> "Figure":
    """Draw query images and their nearest neighbours, framed in blue (same class) or red (another class), if labelled.

    Args:
        queries: uint8 [Q, C, H, W].
        query_labels: int64 [Q]; -1 means unlabelled.
        neighbours: uint8 [Q, K, C, H, W].
        neighbour_labels: int64 [Q, K].
        angles: Degrees [Q, K].
        classes: Names that the labels index into.
        n: Number of images searched.
        synthetic: Whether the images are synthetic.
    """
    rows, columns = neighbour_labels.shape
    figure = new_figure(0.85 * (columns + 1) + 1.9, 1.1 * rows + 0.9)
    axes = figure.subplots(rows, columns + 1, squeeze=False)
    names = iter(shown_names(figure, [classes[label] for label in query_labels if label >= 0], 20))
    for row in range(rows):
        thumbnail(axes[row, 0], queries[row])
        label = query_labels[row]
        _name_row(axes[row, 0], next(names) if label >= 0 else "")
        for column in range(columns):
            other = neighbour_labels[row, column]
            colour = None if min(label, other) < 0 else POSITIVE if other == label else NEGATIVE
            thumbnail(axes[row, column + 1], neighbours[row, column], f"{angles[row, column]:.0f}°", colour)
    axes[0, 0].set_title("query", fontsize=9, color=MUTED)
    axes[0, (columns + 1) // 2].set_title("nearest neighbours, closest first", fontsize=9, color=MUTED)
    text = "images searched; below each: angle to the query; blue: same class, red: another class"
    caption(figure, text if classes else f"unlabelled {text.rpartition(';')[0]}", n=n, synthetic=synthetic)
    return figure


def contact_sheet(images: NDArray[np.uint8], names: Sequence[str], *, text: str, synthetic: bool = False) -> "Figure":
    """Draw images in a grid, row by row.

    Args:
        images: uint8 [N, C, H, W], with N at least 1.
        names: [N], below each.
        text: For the caption, such as "suggested images, in their order".
        synthetic: Whether the images are synthetic.
    """
    rows = -(-len(images) // SHEET_COLUMNS)
    figure = new_figure(SHEET_COLUMNS * 0.95, rows * 1.15 + 0.5)
    for place, axis in enumerate(figure.subplots(rows, SHEET_COLUMNS, squeeze=False).flat):
        axis.axis("off")
        if place < len(images):
            axis.axis("on")
            thumbnail(axis, images[place], names[place])
    caption(figure, text, n=len(images), synthetic=synthetic)
    return figure
