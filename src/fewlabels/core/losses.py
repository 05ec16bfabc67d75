"""Loss functions, each with its chance level: the loss of a network whose output is uninformative."""

import math
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fewlabels.core.distributed import gather_with_gradient, rank
from fewlabels.core.errors import UserError

PAIR_CHANCE: Final = math.log(2)
"""Chance level of `pair_loss`, in nats: every pair is positive with probability 1/2."""


class Contrast(NamedTuple):
    """Similarity of every anchor to every candidate, and the candidate that is its positive.

    Attributes:
        logits: [2B, 2N] cosine similarity over temperature, -inf between an anchor and itself; float32 (float64 from
            float64). B images are on this rank, N on all ranks together.
        targets: int64 [2B] column of each anchor's other view.
    """

    logits: Tensor
    targets: Tensor


def contrastive_logits(z1: Tensor, z2: Tensor, temperature: float, *, gather: bool = True) -> Contrast:
    """Logits and targets whose cross-entropy is NT-Xent (SimCLR, Chen et al. 2020, section 2.1).

    Anchors are this rank's first views, then its second views. Candidates are the anchors of all ranks, in rank order.

    Args:
        z1: [B, D] projections of the first views.
        z2: [B, D] projections of the second views, in the same order.
        temperature: tau, dimensionless; usually 0.05 to 0.5.
        gather: Use the views of all ranks as candidates, not only this rank's.

    Returns:
        logits [2B, 2N] and targets [2B].

    Raises:
        UserError: The temperature is not a finite number above 0.
    """
    check_temperature(temperature)
    assert z1.ndim == 2, z1.shape
    assert z1.shape == z2.shape, (z1.shape, z2.shape)
    with torch.autocast(z1.device.type, enabled=False):
        anchors = _unit(_at_least_float32(torch.cat([z1, z2])))
        candidates = gather_with_gradient(anchors) if gather else anchors
        logits = anchors @ candidates.T / temperature
    n_anchors = len(anchors)
    rows = torch.arange(n_anchors, device=z1.device)
    offset = n_anchors * rank() if gather else 0
    itself = torch.arange(logits.shape[1], device=z1.device) == (rows + offset).unsqueeze(1)
    targets = rows.roll(n_anchors // 2) + offset
    return Contrast(logits.masked_fill(itself, -torch.inf), targets)


def nt_xent(z1: Tensor, z2: Tensor, temperature: float, *, gather: bool = True) -> Tensor:
    """Normalised temperature-scaled cross-entropy (SimCLR, Chen et al. 2020, section 2.1, equation 1).

        loss(i, j) = -log( exp(sim(z_i, z_j) / tau) / sum over k != i of exp(sim(z_i, z_k) / tau) )

    The mean over this rank's 2B anchors, each against the 2N - 1 other views of the global batch. Averaged over ranks,
    as DDP averages gradients, loss and gradient equal those of one process with all N images.

    Args:
        z1: [B, D] projections of the first views.
        z2: [B, D] projections of the second views, in the same order.
        temperature: tau, dimensionless; usually 0.05 to 0.5.
        gather: Use the views of all ranks as candidates, not only this rank's.

    Returns:
        A scalar in nats, float32 even under autocast (float64 from float64). Its chance level is `nt_xent_chance(N)`.

    Raises:
        UserError: The temperature is not a finite number above 0.
    """
    logits, targets = contrastive_logits(z1, z2, temperature, gather=gather)
    return F.cross_entropy(logits, targets)


def nt_xent_chance(n: int) -> float:
    """Chance level of NT-Xent, ln(2n - 1) nats for n images on all ranks: all similarities are equal."""
    assert n >= 1, n
    return math.log(2 * n - 1)


def topk_accuracy(logits: Tensor, targets: Tensor, k: int = 1) -> Tensor:
    """Fraction of rows whose target is among their k largest logits.

    Args:
        logits: [M, C].
        targets: [M] columns.
        k: At least 1; values above C count as C.

    Returns:
        A scalar in [0, 1], float32, without gradient.
    """
    largest = logits.detach().topk(min(k, logits.shape[1]), dim=1).indices
    return (largest == targets[:, None]).any(dim=1).float().mean()


def pair_loss(logits: Tensor, same: Tensor) -> Tensor:
    """Binary cross-entropy of positive and negative pairs, the loss of Siamese networks.

    The method computes the logits from |z1 - z2| (Koch et al. 2015, "Siamese neural networks for one-shot image
    recognition", section 3.1).

    Args:
        logits: [M] log-odds that a pair is positive.
        same: [M] 1 or True for a positive pair, 0 or False for a negative one.

    Returns:
        A scalar in nats, float32 even under autocast (float64 from float64). Its chance level is `PAIR_CHANCE`.
    """
    assert logits.shape == same.shape, (logits.shape, same.shape)
    logits = _at_least_float32(logits)
    return F.binary_cross_entropy_with_logits(logits, same.to(logits.dtype))


def check_temperature(temperature: float) -> None:
    """Check that a temperature is valid.

    Raises:
        UserError: It is not a finite number above 0.
    """
    if not (isinstance(temperature, int | float) and 0 < temperature < math.inf):
        raise UserError(
            f"method.temperature={temperature!r}: give a finite number above 0. The SimCLR paper tries 0.05, 0.1, 0.5 "
            "and 1; start from method.temperature=0.5 for small batches."
        )


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _unit(x: Tensor) -> Tensor:
    """Scale rows to length 1. Zero rows stay zero, with a moderate gradient, where that of F.normalize is 1e12."""
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / torch.where(norm > 0, norm, torch.ones_like(norm))
