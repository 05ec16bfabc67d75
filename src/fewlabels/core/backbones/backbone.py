"""A network and a description of its input."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fewlabels.core.errors import UserError


class Backbone(nn.Module):
    """A network and a description of its input.

    Args:
        body: Maps [B, channels, size, size] images or [B, channels] points to [B, dim], or to [B, dim, 1, 1].
        channels: Channels of an image, or coordinates of a point.
        size: Side of the square images in pixels; None for points.
        mean: Per-channel mean for normalisation, of pixels in [0, 1].
        std: Per-channel standard deviation, likewise.
        frozen_norms: Whether batch norms keep their statistics in training, and normalise by them: those of pretrained
            weights, which few images of one kind, in small batches, would only make worse. Their scale and shift are
            trained.

    Attributes:
        description: The builder and its arguments in plain containers; `load_backbone` rebuilds the network from it.

    Raises:
        UserError: The body does not accept this input.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        body: nn.Module,
        *,
        channels: int,
        size: int | None,
        mean: Sequence[float],
        std: Sequence[float],
        frozen_norms: bool = False,
    ) -> None:
        super().__init__()
        self.body = body
        self.description: dict[str, Any] = {}
        self.channels, self.size, self.frozen_norms = channels, size, frozen_norms
        self.mean, self.std = tuple(mean), tuple(std)
        scale = 1 / torch.tensor(self.std, dtype=torch.float32).view(-1, 1, 1)
        # Buffers, so that normalising copies nothing to a GPU; `description` has their values.
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer(
            "shift", -torch.tensor(self.mean, dtype=torch.float32).view(-1, 1, 1) * scale, persistent=False
        )
        self.dim = self.embedding_dim(size)

    def describe(self, builder: str, **arguments: Any) -> Self:
        """Set `description` of an image backbone: its builder, these arguments, and those of its input; return it."""
        of_input = {"channels": self.channels, "size": self.size, "mean": list(self.mean), "std": list(self.std)}
        self.description = {"builder": builder, **arguments, **of_input}
        return self

    def train(self, mode: bool = True) -> Self:
        """Set training mode, of batch norms only if they are not frozen."""
        super().train(mode)
        for module in self.modules() if self.frozen_norms else ():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Embed normalised inputs [B, channels, size, size] (or [B, channels]) as [B, dim]."""
        return self.body(x).flatten(1)

    def normalise(self, x: Tensor) -> Tensor:
        """Normalise images [B, C, H, W], uint8 or float in [0, 1], for `forward`; points are returned unchanged."""
        if self.size is None:
            return x
        if x.dtype == torch.uint8:
            return torch.addcmul(self.shift, x.float(), self.scale / 255)
        return torch.addcmul(self.shift, x, self.scale)

    def embedding_dim(self, size: int | None) -> int:
        """Size of the embedding of images of `size` pixels, or of points (None).

        Raises:
            UserError: The body does not accept them.
        """
        shape = (2, self.channels) if size is None else (2, self.channels, size, size)
        training = self.body.training
        self.body.eval()
        try:
            with torch.no_grad():
                return self.body(torch.zeros(shape)).flatten(1).shape[1]
        except (RuntimeError, AssertionError, ValueError, TypeError, AttributeError) as error:
            raise UserError(
                f"backbone: this network does not accept inputs of shape {list(shape[1:])} ({error}). Change data.size "
                "or choose another backbone."
            ) from error
        finally:
            self.body.train(training)
