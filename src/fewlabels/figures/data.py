"""The first look at a data set: how many images of what, how large, and what they look like."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.style import INK, MUTED, PALETTE, caption, new_figure, shortened, thumbnail, tidy

MOST = 30
"""Bars that stay legible below each other."""


def counts_figure(labels: NDArray[np.int64], classes: Sequence[str], *, synthetic: bool = False) -> Any:
    """Draw how many samples each class has, the largest on top; more classes than `MOST` share the last bar.

    Args:
        labels: int64 [N]; -1 means unlabelled.
        classes: Names that the labels index into.
        synthetic: Say so on the figure.

    Returns:
        A matplotlib Figure.
    """
    numbers = np.bincount(labels[labels >= 0], minlength=len(classes))
    order = np.argsort(-numbers, kind="stable")
    bars = [(shortened(classes[label], 32), int(numbers[label])) for label in order[:MOST]]
    if len(rest := order[MOST:]):
        bars.append((f"{len(rest)} smaller classes together", int(numbers[rest].sum())))
    if unlabelled := int((labels < 0).sum()):
        bars.append(("without a class, or set aside", unlabelled))
    figure = new_figure(7.2, 0.24 * len(bars) + 1.2)
    axis = figure.subplots()
    names, lengths = zip(*bars, strict=True)
    place = np.arange(len(bars))
    shades = [PALETTE[0]] * min(len(classes), MOST) + [MUTED] * (len(bars) - min(len(classes), MOST))
    axis.barh(place, lengths, color=shades, height=0.7)
    for row, length in enumerate(lengths):
        axis.annotate(f" {length:,}", (length, row), va="center", fontsize=8, color=INK)
    axis.set_yticks(place, names, fontsize=8)
    axis.invert_yaxis()
    axis.set(xlabel="samples", xlim=(0, 1.12 * max(lengths)))
    tidy(axis)
    caption(figure, f"{len(classes)} classes", n=len(labels), synthetic=synthetic)
    return figure


def sizes_figure(sizes: NDArray[np.int64], *, used: int, synthetic: bool = False) -> Any:
    """Draw width and height of image files [N, 2], in pixels, and the side that they are brought to.

    Returns:
        A matplotlib Figure.
    """
    figure = new_figure(5.2, 4.8)
    axis = figure.subplots()
    axis.scatter(*sizes.T, s=9, color=PALETTE[0], alpha=0.35, linewidths=0)
    axis.scatter([used], [used], marker="s", s=60, facecolor="none", edgecolor=PALETTE[1], linewidth=1.8,
                 label=f"data.size = {used}")  # fmt: skip
    axis.set(xlabel="width of the file (pixels)", ylabel="height (pixels)", aspect="equal",
             xlim=(0, None), ylim=(0, None))  # fmt: skip
    axis.legend(frameon=False, fontsize=9, loc="upper left")
    tidy(axis)
    caption(figure, "files", n=len(sizes), synthetic=synthetic)
    return figure


def examples_figure(
    images: NDArray[np.uint8], labels: NDArray[np.int64], classes: Sequence[str], *, synthetic: bool = False
) -> Any:
    """Draw images as the network gets them, a row per class.

    Args:
        images: uint8 [N, C, H, W].
        labels: int64 [N], none negative.
        classes: Names that the labels index into.
        synthetic: Say so on the figure.

    Returns:
        A matplotlib Figure.
    """
    rows = {label: np.flatnonzero(labels == label) for label in np.unique(labels)}
    columns = max(map(len, rows.values()))
    figure = new_figure(0.95 * columns + 2.0, 0.95 * len(rows) + 0.6)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, (label, members) in zip(axes, rows.items(), strict=True):
        for axis in row:
            axis.axis("off")
        for axis, member in zip(row, members, strict=False):
            axis.axis("on")
            thumbnail(axis, images[member])
        row[0].set_ylabel(shortened(classes[label], 24), rotation=0, ha="right", va="center", fontsize=9)
    caption(figure, "images, drawn at random", n=len(images), synthetic=synthetic)
    return figure
