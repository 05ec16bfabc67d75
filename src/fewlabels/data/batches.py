"""Batches read directly from a table of samples by row, and their order in training and evaluation."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from fewlabels.core.batch import Batch
from fewlabels.core.distributed import rank, world_size
from fewlabels.core.errors import UserError


class StoreDataset(Dataset[Batch]):
    """A table of samples; its index is the rows of a batch.

    Args:
        samples: [N, ...], such as memory-mapped uint8 images [N, C, H, W] or float32 points [N, 2].
        labels: int64 [N].
    """

    def __init__(self, samples: np.ndarray, labels: np.ndarray) -> None:
        self.samples, self.labels = samples, labels

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, rows: np.ndarray) -> Batch:
        """Read `rows`, int64 [B], in one copy."""
        rows = np.asarray(rows, np.int64)
        samples, labels = np.asarray(self.samples[rows]), self.labels[rows]
        return Batch(torch.from_numpy(samples), torch.from_numpy(labels), torch.from_numpy(rows.copy()))


class EpochBatches(Sampler[np.ndarray]):
    """Shuffled batches of rows, in a new order every epoch, disjoint between ranks, all of the same size.

    The order depends on (seed, epoch) only. It is cut into global batches of batch_size × world_size rows, and rank r
    takes the r-th slice of each, so two ranks together see exactly what one rank with twice the batch size sees. The
    last rows of an epoch are dropped if they do not fill a global batch.

    Args:
        rows: int64 [n], the rows to train on.
        batch_size: B, per rank.
        seed: Seed of the run.
        rank: Rank of this process, in [0, world_size).
        world_size: Number of processes.
        steps: Batches per rank and epoch, independent of the number of rows: rows are repeated, or left for another
            epoch. None: as many as one pass over the rows fills.

    Attributes:
        start: Batches to skip at the start of the next iteration, for resuming in mid-epoch; the iteration resets it
            to 0.

    Raises:
        UserError: The rows do not fill one global batch; with `steps`, there are no rows.
    """

    def __init__(
        self, rows: np.ndarray, batch_size: int, seed: int, rank: int = 0, world_size: int = 1, steps: int | None = None
    ) -> None:
        global_batch = batch_size * world_size
        if len(rows) < (1 if steps else global_batch):
            raise UserError(
                f"data.batch_size={batch_size} on {world_size} device(s) needs {global_batch} samples for one step, "
                f"and the train split has {len(rows)}. Give data.batch_size at most {len(rows) // world_size}, "
                "or use fewer devices."
            )
        self.rows, self.batch_size, self.seed, self.rank, self.world_size = rows, batch_size, seed, rank, world_size
        self.steps = steps or len(rows) // global_batch
        self.epoch = 0
        self.start = 0

    def __len__(self) -> int:
        return self.steps

    def set_epoch(self, epoch: int) -> None:
        """Use the order of `epoch` from the next iteration on (called by Lightning)."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[np.ndarray]:
        # A generator, because Lightning sets epoch and start after iter() and before the first batch.
        shape = (self.steps, self.world_size, self.batch_size)
        rng, passes = np.random.default_rng((self.seed, self.epoch)), math.ceil(math.prod(shape) / len(self.rows))
        order = np.concatenate([rng.permutation(self.rows) for _ in range(passes)])
        batches = order[: math.prod(shape)].reshape(shape)
        start, self.start = self.start, 0
        yield from batches[start:, self.rank]


def consecutive_batches(rows: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Cut `rows` into batches; the last one may be smaller."""
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def shard_batches(rows: np.ndarray, batch_size: int, rank: int, world_size: int) -> list[np.ndarray]:
    """Split batches of `rows` among the ranks without duplicates: batch k goes to rank k % world_size.

    The batches are the same for any number of ranks. Only if there are fewer batches than ranks are they made smaller,
    because Lightning needs at least one for every rank.

    Raises:
        UserError: There are fewer rows than ranks.
    """
    if 0 < len(rows) < world_size:
        raise UserError(
            f"{len(rows)} held-out sample(s) cannot be split among {world_size} processes. "
            f"Increase data.val_fraction and data.test_fraction, or use trainer.devices={len(rows)}."
        )
    enough = math.ceil(len(rows) / batch_size) >= world_size
    return consecutive_batches(rows, batch_size if enough else max(1, len(rows) // world_size))[rank::world_size]


def make_loader(dataset: StoreDataset, batches: Sampler[np.ndarray] | Sequence[np.ndarray]) -> DataLoader[Any]:
    """Load `batches` of rows in this process: reading a memory map is too fast to gain from worker processes."""
    return DataLoader(
        dataset,
        sampler=batches,
        batch_size=None,  # the sampler yields complete batches
        num_workers=0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # otherwise every pass advances the global generator, and resuming is inexact
    )


class TableDataModule(pl.LightningDataModule):
    """Data modules whose samples are rows of a table; a subclass fills the table and its splits in `setup`.

    Attributes:
        batch_size: Samples per device and step.
        seed: Seed of the training order.
        steps_per_epoch: Optimizer steps in an epoch; None: one pass over `training_rows`.
    """

    batch_size: int
    seed: int
    steps_per_epoch: int | None = None
    _rows: dict[str, NDArray[np.int64]]

    def table(self) -> StoreDataset:
        """All samples with their labels."""
        raise NotImplementedError

    def training_rows(self) -> NDArray[np.int64]:
        """Rows of an epoch."""
        return self.indices("train")

    def held_out_rows(self, split: str) -> NDArray[np.int64]:
        """Rows of "val" or "test", in the order in which they are loaded."""
        return self.indices(split)

    def indices(self, split: str) -> NDArray[np.int64]:
        """Rows of "train", "val", "test" (none of unseen classes) or "unseen", int64 [n], sorted."""
        return self._rows.get(split, np.empty(0, np.int64))

    def restrict_test(self, rows: NDArray[np.int64]) -> None:
        """Leave only `rows` in the test split, from now on."""
        self._rows["test"] = np.intersect1d(self.indices("test"), rows)

    def train_dataloader(self) -> DataLoader[Any]:
        """Load the training rows in a new order every epoch; each rank gets its slice of each global batch."""
        rows = self.training_rows()
        batches = EpochBatches(rows, self.batch_size, self.seed, rank(), world_size(), self.steps_per_epoch)
        return make_loader(self.table(), batches)

    def val_dataloader(self) -> DataLoader[Any]:
        """Load "val" in a fixed order; batch k goes to rank k % world size, so ranks may get different numbers."""
        return self._held_out_loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Load "test" in a fixed order, split among ranks like "val"."""
        return self._held_out_loader("test")

    def _held_out_loader(self, split: str) -> DataLoader[Any]:
        batches = shard_batches(self.held_out_rows(split), self.batch_size, rank(), world_size())
        return make_loader(self.table(), batches)

    def loader(self, split_or_indices: str | NDArray[np.int64], batch_size: int | None = None) -> DataLoader[Any]:
        """Load a whole split, or any rows, in order, on this process alone."""
        rows = self.indices(split_or_indices) if isinstance(split_or_indices, str) else split_or_indices
        batches = consecutive_batches(np.asarray(rows, np.int64), batch_size or self.batch_size)
        return make_loader(self.table(), batches)
