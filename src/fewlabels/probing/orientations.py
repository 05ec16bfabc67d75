"""Embeddings averaged over the orientations of an image, for images that have no up, such as those of plankton."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

ORIENTATIONS = (1, 2, 4, 8)


def oriented(x: "Tensor", count: int) -> list["Tensor"]:
    """Square images [B, C, S, S] in `count` of their 8 orientations, the first as they are.

    2: also mirrored left to right; 4: turned by 0, 90, 180 and 270 degrees; 8: these, and their mirror images.

    Raises:
        ValueError: Another count.
    """
    if count not in ORIENTATIONS:
        raise ValueError(f"count must be one of {ORIENTATIONS}, not {count}.")
    mirrored = [x, x.flip(-1)] if count in (2, 8) else [x]
    turned = [image.rot90(turn, (-2, -1)) for image in mirrored for turn in (1, 2, 3)] if count > 2 else []
    return mirrored + turned


def mean_embedding(network: Callable[["Tensor"], "Tensor"], x: "Tensor", orientations: int) -> "Tensor":
    """Embeddings [B, D], each the mean over so many orientations of its image; with 1, samples may have any shape."""
    first, *others = oriented(x, orientations)
    total = network(first)
    for image in others:
        total = total + network(image)
    return total / orientations
