"""Figures of a dataset: class sizes, image sizes, example images and their augmented views."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.names import shown_names
from fewlabels.figures.style import INK, MUTED, PALETTE, caption, displayed, new_figure, thumbnail, tidy

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_BARS = 30
"""Classes with a bar of their own, at most."""


def counts_figure(labels: NDArray[np.int64], classes: Sequence[str], *, synthetic: bool = False) -> "Figure":
    """Draw the number of samples of each class, largest first; beyond `MAX_BARS`, classes share one bar.

    Args:
        labels: int64 [N]; -1 means unlabelled or excluded.
        classes: Names that the labels index into.
        synthetic: Whether the images are synthetic.
    """
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    order = np.argsort(-counts, kind="stable")
    bars = [(classes[label], int(counts[label]), PALETTE[0]) for label in order[:MAX_BARS]]
    if len(rest := order[MAX_BARS:]):
        bars.append((f"{len(rest)} smaller classes", int(counts[rest].sum()), MUTED))
    if unlabelled := int((labels < 0).sum()):
        bars.append(("unlabelled or excluded", unlabelled, MUTED))
    figure = new_figure(7.2, 0.24 * len(bars) + 1.2)
    axis = figure.subplots()
    names, lengths, colours = zip(*bars, strict=True)
    axis.barh(range(len(bars)), lengths, color=colours, height=0.7)
    for row, length in enumerate(lengths):
        axis.annotate(f" {length:,}", (length, row), va="center", fontsize=8, color=INK)
    axis.set_yticks(range(len(bars)), shown_names(figure, names, 32), fontsize=8)
    axis.set(xlabel="samples", xlim=(0, 1.12 * max(lengths)), ylim=(len(bars) - 0.4, -0.6))
    tidy(axis)
    caption(figure, f"samples; {len(classes)} classes", n=len(labels), synthetic=synthetic)
    return figure


def estimated_counts_figure(table: "pd.DataFrame", *, synthetic: bool = False) -> "Figure":
    """Draw the estimated number of images of each class with its interval, and the number predicted, largest first.

    Args:
        table: Columns class, expected, low, high and raw, a row per class; beyond `MAX_BARS` the smallest are left out.
        synthetic: Whether the images are synthetic.
    """
    shown = table.sort_values("expected", ascending=False, kind="stable").head(MAX_BARS)
    figure = new_figure(7.2, 0.28 * len(shown) + 1.5)
    axis, places = figure.subplots(), np.arange(len(shown))
    sides = np.stack([shown["expected"] - shown["low"], shown["high"] - shown["expected"]])
    axis.barh(places, shown["expected"], color=PALETTE[0], alpha=0.35, height=0.7)
    axis.errorbar(shown["expected"], places, xerr=sides, fmt="o", markersize=4, color=PALETTE[0], capsize=3,
                  label="expected, with 95% interval")  # fmt: skip
    axis.scatter(shown["raw"], places, marker="x", s=28, color=PALETTE[1], zorder=3, label="predictions counted")
    axis.set_yticks(places, shown_names(figure, list(shown["class"]), 32), fontsize=8)
    axis.set(xlabel="images", xlim=(0, None), ylim=(len(shown) - 0.4, -0.6))
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    tidy(axis)
    left_out = f"; {len(table) - len(shown)} smaller ones left out" if len(table) > len(shown) else ""
    unknown = int((table["class"] == "unknown").sum())  # no class, but what looks like none of them
    text = f"images; {len(table) - unknown} classes{' and unknown' if unknown else ''}{left_out}"
    caption(figure, text, n=int(table["raw"].sum()), synthetic=synthetic)
    return figure


def sizes_figure(sizes: NDArray[np.int64], *, used: int, synthetic: bool = False) -> "Figure":
    """Draw width and height of image files, int64 [N, 2] in pixels, and the side `used` that they are resized to."""
    figure = new_figure(5.2, 4.8)
    axis = figure.subplots()
    axis.scatter(sizes[:, 0], sizes[:, 1], s=9, color=PALETTE[0], alpha=0.35, linewidths=0, label="files")
    axis.scatter([used], [used], marker="s", s=60, facecolor="none", edgecolor=PALETTE[1], linewidth=1.8,
                 label=f"resized to {used} × {used} (data.size)")  # fmt: skip
    axis.set(xlabel="image width (pixels)", ylabel="image height (pixels)", aspect="equal",
             xlim=(0, None), ylim=(0, None))  # fmt: skip
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    tidy(axis)
    caption(figure, "image files", n=len(sizes), synthetic=synthetic)
    return figure


def examples_figure(
    images: NDArray[np.uint8], labels: NDArray[np.int64], classes: Sequence[str], *,
    text: str = "randomly chosen images", synthetic: bool = False,
) -> "Figure":  # fmt: skip
    """Draw images at the network's input size, one row per class.

    Args:
        images: uint8 [N, C, H, W].
        labels: int64 [N], none negative.
        classes: Names that the labels index into.
        text: For the caption.
        synthetic: Whether the images are synthetic.
    """
    rows = {label: np.flatnonzero(labels == label) for label in np.unique(labels)}
    columns = max(map(len, rows.values()))
    figure = new_figure(0.95 * columns + 2.0, 0.95 * len(rows) + 0.6)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    names = shown_names(figure, [classes[label] for label in rows], 24)
    for row, name, members in zip(axes, names, rows.values(), strict=True):
        for axis in row:
            axis.axis("off")
        for axis, member in zip(row, members, strict=False):
            axis.axis("on")
            thumbnail(axis, images[member])
        _name_row(row[0], name, size=9)
    caption(figure, text, n=len(images), synthetic=synthetic)
    return figure


def views_figure(images: Mapping[str, NDArray[np.float32]], *, source: str, synthetic: bool = False) -> "Figure":
    """Draw images and their views, one column per image.

    Args:
        images: Row title to float [N, C, H, W] in [0, 1].
        source: Name of the dataset.
        synthetic: Whether the images are synthetic.
    """
    columns = len(next(iter(images.values())))
    figure = new_figure(1.1 * columns + 1.2, 1.1 * len(images) + 0.8)
    axes = figure.subplots(len(images), columns, squeeze=False)
    for row, (title, views) in zip(axes, images.items(), strict=True):
        for axis, view in zip(row, views, strict=True):
            axis.imshow(displayed(view), cmap="grey", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        _name_row(row[0], title, size=10)
    figure.suptitle(f"Views of {columns} {'SYNTHETIC ' if synthetic else ''}{source} images", fontsize=11)
    return figure


def _name_row(axis: "Axes", name: str, *, size: int) -> None:
    axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=size)
