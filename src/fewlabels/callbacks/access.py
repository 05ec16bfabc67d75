"""Typed access to the data module of a trainer, and embeddings of its samples."""

from contextlib import AbstractContextManager
from typing import Any, Protocol, cast

from lightning.pytorch import LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor

from fewlabels.core.interfaces import DataModule
from fewlabels.probing.embeddings import Embeddings, extract


class Embedder(Protocol):
    """What callbacks know of a method."""

    def embed(self, x: Tensor) -> Tensor:
        """Embed raw samples [B, ...] as [B, D]."""


def data_of(trainer: Trainer) -> DataModule:
    """The data module that a trainer was given."""
    data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
    return data


def embed_samples(
    trainer: Trainer,
    pl_module: LightningModule,
    split_or_indices: str | NDArray[Any],
    context: AbstractContextManager[object] | None = None,
) -> Embeddings:
    """Embed a split, or any rows, in order, on this process.

    Args:
        trainer: Its data module holds the samples.
        pl_module: An `Embedder`; every submodule keeps its mode.
        split_or_indices: Name of a split, or rows int64 [n].
        context: Such as an autocast.
    """
    loader = data_of(trainer).loader(split_or_indices)
    return extract(cast("Embedder", pl_module).embed, loader, pl_module, pl_module.device, context)
