"""The batch that a data module yields and a method takes."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """B samples, not augmented: methods augment whole batches on the device.

    Attributes:
        x: uint8 [B, C, H, W] images, or float32 [B, 2] points.
        y: int64 [B] class index into the data module's `classes`; -1 means unlabelled.
        index: int64 [B] position in the data module's table of samples.
    """

    x: Tensor
    y: Tensor
    index: Tensor  # type: ignore[assignment] # shadows tuple.index
