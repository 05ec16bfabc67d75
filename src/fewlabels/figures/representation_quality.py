"""Representation quality: similarities of views and images, singular values, and the spread of the embeddings."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.style import MUTED, PALETTE, caption, new_figure, tidy
from fewlabels.probing.representation_quality import effective_rank, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def representation_quality_figure(one: NDArray[Any], other: NDArray[Any], *, synthetic: bool = False) -> "Figure":
    """Draw cosine similarities, singular values, and the standard deviation of every dimension.

    Args:
        one: Embeddings [N, D] of one view of each image.
        other: Embeddings [N, D] of another view, in the same order.
        synthetic: Whether the images are synthetic.
    """
    figure = new_figure(10.2, 3.6)
    axes = figure.subplots(1, 3)
    _similarities(axes[0], unit(one), unit(other))
    _singular_values(axes[1], one)
    _standard_deviations(axes[2], unit(one))
    for axis in axes:
        tidy(axis)
    caption(figure, "images, two views of each", n=len(one), synthetic=synthetic)
    return figure


def _similarities(axis: "Axes", one: NDArray[np.float64], other: NDArray[np.float64]) -> None:
    same = (one * other).sum(1)
    different = (one @ one.T)[np.triu_indices(len(one), 1)]
    bins = list(np.linspace(min(-0.2, float(different.min())), 1, 60))
    axis.hist(different, bins=bins, density=True, color=PALETTE[1], alpha=0.6, label="different images")
    axis.hist(same, bins=bins, density=True, color=PALETTE[0], alpha=0.6, label="two views of an image")
    axis.set(xlabel="cosine similarity of the embeddings", ylabel="density")
    axis.legend(frameon=False, fontsize=8)


def _singular_values(axis: "Axes", vectors: NDArray[Any]) -> None:
    values = np.linalg.svd(vectors - vectors.mean(0), compute_uv=False)
    relative = np.maximum(values / max(float(values[0]), 1e-12), 1e-12)  # zeros have no logarithm
    axis.semilogy(np.arange(1, len(values) + 1), relative, color=PALETTE[0])
    axis.yaxis.set_major_formatter("{x:g}")  # the default one is typeset as mathematics
    rank = effective_rank(vectors)
    axis.axvline(rank, color=MUTED, linestyle=":", linewidth=1)
    axis.annotate(f" effective rank {rank:.0f}", (rank, 1), color=MUTED, fontsize=8, va="top")
    axis.set(xlabel="index of the singular value", ylabel="singular value / largest", ylim=(1e-4, 1.5))


def _standard_deviations(axis: "Axes", directions: NDArray[np.float64]) -> None:
    axis.plot(np.sort(directions.std(0))[::-1] * np.sqrt(directions.shape[1]), color=PALETTE[0])
    axis.axhline(1, color=MUTED, linestyle=":", linewidth=1)
    axis.annotate("uniform on the sphere", (0.98, 1), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                  fontsize=8, color=MUTED)  # fmt: skip
    axis.set(xlabel="dimension (sorted)", ylabel="standard deviation × √D", ylim=(0, None))
