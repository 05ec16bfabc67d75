"""What travels from a data module to a method."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """B samples as they lie in the store; all augmentation comes later, on the device.

    Attributes:
        x: uint8 [B, C, H, W] images, or float32 [B, 2] points.
        y: int64 [B] class index into the data module's `classes`; -1 means unlabelled.
        index: int64 [B] position in the data module's table of samples.
    """

    x: Tensor
    y: Tensor
    index: Tensor  # type: ignore[assignment] # a tuple has a method of this name, which nobody wants here
