"""Has a network learned something, and does it still? The numbers behind the answer, and the answer in words."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

COLLAPSED, LEARNING, HEALTHY = "collapsed", "still learning", "healthy"


class Health(NamedTuple):
    """What is measured, what it means, and what to try.

    Attributes:
        numbers: By name: `alignment`, `uniformity`, `effective_rank`, `spread`, and what else was given.
        verdict: "collapsed", "still learning" or "healthy".
        reason: Why, in a sentence.
        advice: What to try.
    """

    numbers: dict[str, float]
    verdict: str
    reason: str
    advice: str


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Vectors [N, D] scaled to length 1; a vector of zeros stays one."""
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)


def alignment(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Mean squared distance of two views' normalised embeddings [N, D] (Wang and Isola 2020, §4.1); 0 is best."""
    return float(((unit(one) - unit(other)) ** 2).sum(1).mean())


def uniformity(vectors: NDArray[np.floating]) -> float:
    """Logarithm of the mean Gaussian potential of all pairs (Wang and Isola 2020, §4.1, t = 2).

    0 if all embeddings [N, D] point the same way; the lower, the more evenly they are spread over the sphere.
    """
    cosines = unit(vectors) @ unit(vectors).T
    pairs = cosines[np.triu_indices(len(cosines), 1)]
    return float(np.log(np.exp(-2 * (2 - 2 * pairs)).mean()))


def effective_rank(vectors: NDArray[np.floating]) -> float:
    """Exponential of the entropy of the singular values of the embeddings [N, D] (RankMe, Garrido et al. 2023, §3.1).

    Centred first, so that one direction which all embeddings share does not count.
    """
    values = np.linalg.svd(vectors - vectors.mean(0), compute_uv=False)
    if values.sum() < 1e-9:
        return 0.0
    shares = values / values.sum()
    return float(np.exp(-(shares * np.log(shares + 1e-12)).sum()))


def spread(vectors: NDArray[np.floating]) -> float:
    """Mean over dimensions of the standard deviation of normalised embeddings, times √D: 1 if uniform on the sphere."""
    return float(unit(vectors).std(0).mean() * np.sqrt(vectors.shape[1]))


def examine(one: NDArray[np.floating], other: NDArray[np.floating], figures: Mapping[str, float]) -> Health:
    """Judge a network by its embeddings of two views [N, D] and by what the run measured.

    Args:
        one: Embeddings of a view of each image.
        other: Of another view, in the same order.
        figures: Of `loss`, `loss_chance`, `knn_accuracy` and `knn_accuracy_untrained` those that are known.
    """
    numbers = {
        "alignment": alignment(one, other),
        "uniformity": uniformity(one),
        "effective_rank": effective_rank(one),
        "spread": spread(one),
    } | dict(figures)
    loss, chance = figures.get("loss", np.nan), figures.get("loss_chance", np.nan)
    knn, before = figures.get("knn_accuracy", np.nan), figures.get("knn_accuracy_untrained", np.nan)
    if numbers["effective_rank"] < 2 or numbers["uniformity"] > -0.05:
        return Health(
            numbers, COLLAPSED, f"all images are given nearly the same embedding (effective rank "
            f"{numbers['effective_rank']:.1f}, uniformity {numbers['uniformity']:.2f})",
            "If it has only just begun, train on; else try a lower learning rate, a longer warm-up or a larger batch.",
        )  # fmt: skip
    if loss > 0.95 * chance:
        return Health(
            numbers, LEARNING, f"its loss on held-out data, {loss:.2f}, is still near that of guessing, {chance:.2f}",
            "Train longer; if the loss stays there, raise the learning rate, or weaken the views.",
        )  # fmt: skip
    if np.isnan(loss) and not knn > before:
        return Health(numbers, LEARNING, "nothing shows that it has been trained", "Pretrain it first.")
    if knn <= before:
        return Health(
            numbers, LEARNING, f"its neighbours tell classes no better ({knn:.1%}) than the untrained network's "
            f"({before:.1%})",
            "Train longer, or choose views that change what does not matter in your images, and nothing that does.",
        )  # fmt: skip
    better = f"; neighbours tell {knn:.1%} of the classes, untrained {before:.1%}" if knn > before else ""
    return Health(
        numbers, HEALTHY, f"embeddings are spread over {numbers['effective_rank']:.0f} dimensions and views of one "
        f"image lie close together{better}",
        "Nothing needs to be done; more epochs may still add a little.",
    )  # fmt: skip
