"""A first look at a data set: how many images of each class, and what they look like."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.style import MUTED, PALETTE, caption, new_figure, shortened, thumbnail, tidy


def counts_figure(
    labels: NDArray[np.int64], classes: Sequence[str], *, aside: int = 0, synthetic: bool = False, limit: int = 40
) -> Any:
    """Draw how many images each class has, the largest first.

    Args:
        labels: int64 [N]; -1 means unlabelled or set aside.
        classes: Names that the labels index into.
        aside: How many of the -1 are of classes set aside.
        synthetic: Say so on the figure.
        limit: Classes drawn; the caption says how many more there are.
    """
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    order = np.argsort(-counts, kind="stable")[:limit]
    figure = new_figure(7, 0.24 * len(order) + 1.2)
    axis = figure.subplots()
    bars = axis.barh([shortened(classes[k], 40) for k in order], counts[order], color=PALETTE[0], height=0.7)
    axis.bar_label(bars, padding=3, fontsize=8, color=MUTED)
    axis.invert_yaxis()
    axis.set(xlabel="images")
    tidy(axis)
    hidden, blank = len(classes) - len(order), int((labels < 0).sum()) - aside
    more = [f"{hidden} smaller classes not drawn" if hidden else "", f"{blank:,} unlabelled" if blank else "",
            f"{aside:,} of classes set aside" if aside else ""]  # fmt: skip
    caption(figure, "; ".join(filter(None, more)), n=len(labels), synthetic=synthetic)
    return figure


def examples_figure(
    images: NDArray[np.uint8], labels: NDArray[np.int64], classes: Sequence[str], *, synthetic: bool = False
) -> Any:
    """Draw images uint8 [N, C, H, W], a row per class in the order of the labels.

    Args:
        images: The same number of each class looks best.
        labels: int64 [N].
        classes: Names that the labels index into.
        synthetic: Say so on the figure.
    """
    kinds = np.unique(labels)
    columns = max(int((labels == kind).sum()) for kind in kinds)
    figure = new_figure(0.9 * columns + 2, 0.9 * len(kinds) + 0.6)
    axes = figure.subplots(len(kinds), columns, squeeze=False)
    for row, kind in zip(axes, kinds, strict=True):
        for axis in row:
            axis.axis("off")
        for axis, image in zip(row, images[labels == kind], strict=False):
            axis.axis("on")
            thumbnail(axis, image)
        row[0].set_ylabel(shortened(classes[kind], 24), rotation=0, ha="right", va="center", fontsize=8)
    caption(figure, "images as the network gets them, before any view", n=len(images), synthetic=synthetic)
    return figure
