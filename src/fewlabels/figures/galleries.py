"""Images as the network sees them: typical, untypical, mistaken, and alike."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.style import MUTED, NEGATIVE, POSITIVE, caption, new_figure, shortened, thumbnail
from fewlabels.geometry import Gallery

BLOCKS = ("nearest the centre", "furthest from it, same class", "nearest of other classes")


def gallery_figure(
    galleries: Sequence[Gallery],
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    synthetic: bool = False,
) -> Any:
    """Draw a row per class and three blocks of images in it.

    Args:
        galleries: Rows of `images`, and degrees.
        images: uint8 [N, C, H, W].
        labels: int64 [N].
        classes: Names that the labels index into.
        synthetic: Say so on the figure.

    Returns:
        A matplotlib Figure.
    """
    count = max(len(gallery.nearest) for gallery in galleries)
    figure = new_figure(3 * count * 0.78 + 2.2, 1.02 * len(galleries) + 0.9)
    for block, (part, title) in enumerate(zip(figure.subfigures(1, 3, wspace=0.02), BLOCKS, strict=True)):
        part.suptitle(title, fontsize=10)
        axes = part.subplots(len(galleries), count, squeeze=False)
        for row, gallery in zip(axes, galleries, strict=True):
            chosen = (gallery.nearest, gallery.furthest, gallery.intruders)[block]
            for axis in row:
                axis.axis("off")
            for axis, number, angle in zip(row, chosen, gallery.angles[block], strict=False):
                axis.axis("on")
                name = f"{shortened(classes[labels[number]], 13)}\n" if block == 2 and labels[number] >= 0 else ""
                thumbnail(axis, images[number], f"{name}{angle:.0f}°")
            if block == 0:
                row[0].axis("on")
                row[0].set_ylabel(shortened(gallery.name, 24).replace(" ", "\n", 1), rotation=0, ha="right",
                                  va="center", fontsize=8, labelpad=8)  # fmt: skip
    caption(figure, "angles to the centre of the row's class", n=len(images), synthetic=synthetic)
    return figure


def neighbours_figure(
    queries: NDArray[np.uint8],
    query_labels: NDArray[np.int64],
    found: NDArray[np.uint8],
    found_labels: NDArray[np.int64],
    angles: NDArray[np.float64],
    classes: Sequence[str],
    *,
    n: int,
    synthetic: bool = False,
) -> Any:
    """Draw query images and what lies closest to each, framed in blue if of the query's class, in red if not.

    Args:
        queries: uint8 [Q, C, H, W].
        query_labels: int64 [Q].
        found: uint8 [Q, K, C, H, W].
        found_labels: int64 [Q, K].
        angles: Degrees [Q, K].
        classes: Names that the labels index into.
        n: Images searched.
        synthetic: Say so on the figure.
    """
    rows, columns = found_labels.shape
    figure = new_figure(0.85 * (columns + 1) + 1.9, 1.0 * rows + 0.9)
    axes = figure.subplots(rows, columns + 1, squeeze=False)
    for row in range(rows):
        thumbnail(axes[row, 0], queries[row])
        axes[row, 0].set_ylabel(shortened(classes[query_labels[row]], 20), rotation=0, ha="right", va="center",
                                fontsize=8)  # fmt: skip
        for column in range(columns):
            same = found_labels[row, column] == query_labels[row]
            thumbnail(axes[row, column + 1], found[row, column], f"{angles[row, column]:.0f}°",
                      POSITIVE if same else NEGATIVE)  # fmt: skip
    axes[0, 0].set_title("query", fontsize=9, color=MUTED)
    axes[0, 1].set_title("closest first", fontsize=9, color=MUTED, loc="left")
    caption(figure, "images searched; angles to the query; blue: of its class, red: of another", n=n,
            synthetic=synthetic)  # fmt: skip
    return figure
