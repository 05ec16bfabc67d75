"""Representation quality: alignment, uniformity and effective rank of embeddings, and a verdict."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

COLLAPSED, LEARNING, GOOD = "collapsed", "undertrained", "good"


class QualityReport(NamedTuple):
    """Measurements, and what follows from them.

    Attributes:
        numbers: By name: `alignment`, `uniformity`, `effective_rank`, `spread`, and the metrics of the run.
        verdict: `COLLAPSED`, `LEARNING` or `GOOD`.
        reason: Why; a clause without a full stop.
        advice: What to try; a sentence.
    """

    numbers: dict[str, float]
    verdict: str
    reason: str
    advice: str


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Vectors [N, D] scaled to length 1; zero vectors stay zero."""
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)


def alignment(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Mean squared distance of two views' normalised embeddings [N, D] (Wang and Isola 2020, §4.1); 0 is best."""
    return float(((unit(one) - unit(other)) ** 2).sum(1).mean())


def uniformity(vectors: NDArray[np.floating]) -> float:
    """Logarithm of the mean Gaussian potential of all pairs of embeddings [N, D] (Wang and Isola 2020, §4.1, t = 2).

    0 if all have the same direction; lower if they are distributed more uniformly on the sphere.
    """
    cosines = unit(vectors) @ unit(vectors).T
    pairs = cosines[np.triu_indices(len(cosines), 1)]
    return float(np.log(np.exp(-2 * (2 - 2 * pairs)).mean()))


def effective_rank(vectors: NDArray[np.floating]) -> float:
    """Exponential of the entropy of the singular values of embeddings [N, D] (RankMe, Garrido et al. 2023, §3.1).

    The embeddings are centred first, so that their mean does not count as a dimension.
    """
    values = np.linalg.svd(vectors - vectors.mean(0), compute_uv=False)
    if values.sum() < 1e-9:
        return 0.0
    fractions = values / values.sum()
    return float(np.exp(-(fractions * np.log(fractions + 1e-12)).sum()))


def spread(vectors: NDArray[np.floating]) -> float:
    """Standard deviation of normalised embeddings, averaged over dimensions, times √D: 1 if uniform on the sphere."""
    return float(unit(vectors).std(0).mean() * np.sqrt(vectors.shape[1]))


def assess(one: NDArray[np.floating], other: NDArray[np.floating], metrics: Mapping[str, float]) -> QualityReport:
    """Assess a network by its embeddings of two views and by the metrics of its run.

    Args:
        one: [N, D] embeddings of a view of each image.
        other: [N, D] embeddings of another view, in the same order.
        metrics: Those that are known of `loss`, `loss_chance`, `knn_accuracy` and `knn_accuracy_untrained`, all of
            validation images.
    """
    numbers = {
        "alignment": alignment(one, other),
        "uniformity": uniformity(one),
        "effective_rank": effective_rank(one),
        "spread": spread(one),
    } | dict(metrics)
    return QualityReport(numbers, *_verdict(numbers))


def _verdict(numbers: Mapping[str, float]) -> tuple[str, str, str]:
    """Verdict, reason and advice."""
    loss, chance = numbers.get("loss", np.nan), numbers.get("loss_chance", np.nan)
    knn, untrained = numbers.get("knn_accuracy", np.nan), numbers.get("knn_accuracy_untrained", np.nan)
    rank = numbers["effective_rank"]
    if rank < 2 or numbers["uniformity"] > -0.05:
        values = f"effective rank {rank:.1f}, uniformity {numbers['uniformity']:z.2f}"
        advice = "In the first epochs, train on; else lower the learning rate, or raise the warm-up or the batch size."
        return COLLAPSED, f"all images have nearly the same embedding ({values})", advice
    if loss > 0.95 * chance:
        advice = "Train longer; if the loss does not fall, raise the learning rate or weaken the augmentations."
        return LEARNING, f"val loss {loss:.2f} is close to its chance level {chance:.2f}", advice
    if np.isnan(loss) and not knn > untrained:
        return LEARNING, "no metric shows that the network has been trained", "Pretrain it first."
    if knn <= untrained:
        advice = "Train longer, or choose augmentations that change only what does not depend on the class."
        return (
            LEARNING,
            f"val kNN accuracy {knn:.1%} is not above the {untrained:.1%} of the network before training",
            advice,
        )
    gain = f", val kNN accuracy {knn:.1%} (before training {untrained:.1%})" if knn > untrained else ""
    reason = f"effective rank {rank:.0f}, alignment {numbers['alignment']:.2f}{gain}"
    return GOOD, reason, "More epochs may still improve it."
