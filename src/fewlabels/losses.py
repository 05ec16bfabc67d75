"""The losses, each beside the value that a network which knows nothing would get."""

import math
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fewlabels.distributed import gather_with_gradient, rank
from fewlabels.errors import UserError

PAIR_CHANCE: Final = math.log(2)
"""The `pair_loss` of a network that always answers "one in two", in nats."""


class Contrast(NamedTuple):
    """Every anchor's similarity to every candidate, and where its positive is.

    Attributes:
        logits: [2B, 2N] cosine similarity over temperature, -inf where an anchor would meet itself; float32
            (float64 from float64). B images are on this rank, N on all ranks together.
        targets: [2B] the column of each anchor's other view, int64.
    """

    logits: Tensor
    targets: Tensor


def contrastive_logits(z1: Tensor, z2: Tensor, temperature: float, *, gather: bool = True) -> Contrast:
    """The similarities that NT-Xent is the cross-entropy of (SimCLR, Chen et al. 2020, section 2.1).

    Anchors are this rank's first views, then its second views. Candidates are those of every rank, rank
    after rank; in one process they are the anchors themselves.

    Args:
        z1: [B, D] projections of the first views.
        z2: [B, D] projections of the second views, in the same order.
        temperature: tau, without unit; 0.05 to 0.5 is usual.
        gather: contrast with the images of all ranks, not only with this rank's own.

    Returns:
        logits [2B, 2N] and targets [2B].

    Raises:
        UserError: the temperature is not a finite number above 0.
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
    itself = torch.zeros_like(logits, dtype=torch.bool)
    itself[rows, rows + offset] = True
    targets = rows.roll(n_anchors // 2) + offset
    return Contrast(logits.masked_fill(itself, -torch.inf), targets)


def nt_xent(z1: Tensor, z2: Tensor, temperature: float, *, gather: bool = True) -> Tensor:
    """Normalised temperature-scaled cross-entropy (SimCLR, Chen et al. 2020, section 2.1, equation 1).

        loss(i, j) = -log( exp(sim(z_i, z_j) / tau) / sum over k != i of exp(sim(z_i, z_k) / tau) )

    It is the mean over this rank's 2B anchors, each against the 2N - 1 other views of the GLOBAL batch.
    Averaged over ranks, as DDP averages gradients, loss and gradient are those of one process that holds all
    N images.

    Args:
        z1: [B, D] projections of the first views.
        z2: [B, D] projections of the second views, in the same order.
        temperature: tau, without unit; 0.05 to 0.5 is usual.
        gather: contrast with the images of all ranks, not only with this rank's own.

    Returns:
        A scalar in nats, float32 even under autocast (float64 from float64). Chance is `nt_xent_chance(N)`.

    Raises:
        UserError: the temperature is not a finite number above 0.
    """
    logits, targets = contrastive_logits(z1, z2, temperature, gather=gather)
    return F.cross_entropy(logits, targets)


def nt_xent_chance(n: int) -> float:
    """The NT-Xent of a network to which all views look alike: ln(2n - 1) nats, for n images on all ranks."""
    assert n >= 1, n
    return math.log(2 * n - 1)


def topk_accuracy(logits: Tensor, targets: Tensor, k: int = 1) -> Tensor:
    """The share of rows whose target is among their k greatest logits.

    Args:
        logits: [M, C].
        targets: [M] columns.
        k: at least 1; more than C counts as C.

    Returns:
        A scalar in [0, 1], float32, without gradient.
    """
    best = logits.detach().topk(min(k, logits.shape[1]), dim=1).indices
    return (best == targets[:, None]).any(dim=1).float().mean()


def pair_loss(logits: Tensor, same: Tensor) -> Tensor:
    """Binary cross-entropy of "these two belong together", as Siamese networks are trained on it.

    The method makes the logits, from |z1 - z2| (Koch et al. 2015, "Siamese neural networks for one-shot
    image recognition", section 3.1).

    Args:
        logits: [M] the log odds that a pair is positive.
        same: [M] 1 or True for a positive pair, 0 or False for a negative one.

    Returns:
        A scalar in nats, float32 even under autocast (float64 from float64). Chance is `PAIR_CHANCE`.
    """
    assert logits.shape == same.shape, (logits.shape, same.shape)
    logits = _at_least_float32(logits)
    return F.binary_cross_entropy_with_logits(logits, same.to(logits.dtype))


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that nothing can be divided by.

    Raises:
        UserError: it is not a finite number above 0.
    """
    if not (isinstance(temperature, int | float) and 0 < temperature < math.inf):
        raise UserError(
            f"method.temperature={temperature!r}: it must be a finite number above 0. "
            "SimCLR's paper tries 0.05, 0.1, 0.5 and 1; start from method.temperature=0.5 for small batches."
        )


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _unit(x: Tensor) -> Tensor:
    """Rows of length 1; zeros stay zeros, with a gradient of ordinary size (F.normalize's is 1e12 there)."""
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / torch.where(norm > 0, norm, torch.ones_like(norm))
