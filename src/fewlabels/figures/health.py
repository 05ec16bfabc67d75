"""What stands behind a network's health: how its embeddings are spread, and what views share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.style import MUTED, PALETTE, caption, new_figure, tidy
from fewlabels.health import effective_rank, unit


def health_figure(one: NDArray[Any], other: NDArray[Any], *, synthetic: bool = False) -> Any:
    """Draw the angles between views and between images, the spectrum, and the spread of every dimension.

    Args:
        one: Embeddings [N, D] of a view of each image.
        other: Of another view, in the same order.
        synthetic: Say so on the figure.
    """
    figure = new_figure(11.5, 3.6)
    left, middle, right = figure.subplots(1, 3)
    a, b = unit(one), unit(other)
    same = (a * b).sum(1)
    different = (a @ a.T)[np.triu_indices(len(a), 1)]
    bins = np.linspace(min(-0.2, float(different.min())), 1, 60)
    for values, colour, name in ((different, PALETTE[1], "two images"), (same, PALETTE[0], "two views of one image")):
        left.hist(values, bins=bins, density=True, color=colour, alpha=0.6, label=name)
    left.set(xlabel="cosine of the angle between embeddings", ylabel="density")
    left.legend(frameon=False, fontsize=8)
    values = np.linalg.svd(one - one.mean(0), compute_uv=False)
    middle.semilogy(np.arange(1, len(values) + 1), values / max(float(values[0]), 1e-12), color=PALETTE[0])
    rank = effective_rank(one)
    middle.axvline(rank, color=MUTED, linestyle=":", linewidth=1)
    middle.annotate(f" effective rank {rank:.0f}", (rank, 1), color=MUTED, fontsize=8, va="top")
    middle.set(xlabel="direction, the strongest first", ylabel="singular value, first = 1", ylim=(1e-4, 1.5))
    right.plot(np.sort(unit(one).std(0))[::-1] * np.sqrt(one.shape[1]), color=PALETTE[0])
    right.axhline(1, color=MUTED, linestyle=":", linewidth=1)
    right.annotate("spread evenly over the sphere", (0.98, 1), xycoords=("axes fraction", "data"), ha="right",
                   va="bottom", fontsize=8, color=MUTED)  # fmt: skip
    right.set(xlabel="dimension, the widest first", ylabel="standard deviation × √D", ylim=(0, None))
    for axis in (left, middle, right):
        tidy(axis)
    caption(figure, "images, two views of each", n=len(one), synthetic=synthetic)
    return figure
