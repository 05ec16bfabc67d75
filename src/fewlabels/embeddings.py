"""What a network makes of a data set, on one process and in a fixed order; everything after pretraining starts here."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fewlabels.batch import Batch


@dataclass(frozen=True)
class Embeddings:
    """Vectors and what is known of each.

    Attributes:
        vectors: float32 [N, D].
        labels: int64 [N]; -1 means unlabelled.
        index: int64 [N] position in the data module's table of samples.
    """

    vectors: NDArray[np.float32]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]


def extract(
    embed: Callable[[Tensor], Tensor],
    loader: Iterable[Batch],
    network: nn.Module,
    device: torch.device | str = "cpu",
    context: AbstractContextManager[object] | None = None,
) -> Embeddings:
    """Embed everything that `loader` yields, in eval mode and without gradients.

    Every submodule gets its own mode back: a backbone left in eval mode would freeze its batch norms and learn
    nothing, while its loss still moves.

    Args:
        embed: [B, ...] to [B, D].
        loader: Batches in a fixed order.
        network: The module whose modes `embed` depends on.
        device: Where it lies.
        context: Such as an autocast.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    try:
        with torch.inference_mode(), context or nullcontext():
            for x, y, index in loader:
                parts.append((embed(x.to(device)).float().cpu(), y, index))
    finally:
        for module, mode in modes.items():
            module.training = mode
    return Embeddings(*(torch.cat(column).numpy() for column in zip(*parts, strict=True)))
