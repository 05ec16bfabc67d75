"""Batches read straight from the store by row, and the order in which training reads them."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from fewlabels.batch import Batch
from fewlabels.errors import UserError


class Rows(Dataset[Batch]):
    """The store as a dataset whose index is a whole batch's rows.

    Args:
        images: uint8 [N, C, H, W], memory-mapped.
        labels: int64 [N].
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: np.ndarray) -> Batch:
        """Read `rows`, int64 [B], in one copy."""
        rows = np.asarray(rows, np.int64)
        images, labels = np.asarray(self.images[rows]), self.labels[rows]
        return Batch(torch.from_numpy(images), torch.from_numpy(labels), torch.from_numpy(rows.copy()))


class EpochBatches(Sampler[np.ndarray]):
    """Shuffled batches of rows, different in every epoch, disjoint between ranks, equal in size.

    The order depends on (seed, epoch) alone. It is cut into global batches of batch_size × world, and rank r takes
    the r-th part of each: two ranks see together exactly what one rank with twice the batch sees. The last rows,
    too few for a global batch, wait for another epoch.

    Args:
        rows: int64 [n], what there is to train on.
        batch_size: B, per rank.
        seed: Of the run.
        rank: This process, in [0, world).
        world: Number of processes.
        steps: Batches per rank in an epoch, however many rows there are: they come round again, or wait for another
            epoch. None: as many as the rows fill.

    Attributes:
        start: Batches of the epoch to leave out, for going on in mid-epoch; used by the next iteration, then 0.

    Raises:
        UserError: the rows do not fill one global batch, or there are none.
    """

    def __init__(
        self, rows: np.ndarray, batch_size: int, seed: int, rank: int = 0, world: int = 1, steps: int | None = None
    ) -> None:
        if len(rows) < (1 if steps else batch_size * world):
            raise UserError(
                f"data.batch_size={batch_size} on {world} device(s) needs {batch_size * world} images for one step, "
                f"and the train split has {len(rows)}. Give data.batch_size at most {len(rows) // world}, "
                "or fewer devices."
            )
        self.rows, self.batch_size, self.seed, self.rank, self.world = rows, batch_size, seed, rank, world
        self.steps = steps or len(rows) // (batch_size * world)
        self.epoch = 0
        self.start = 0

    def __len__(self) -> int:
        return self.steps

    def set_epoch(self, epoch: int) -> None:
        """Take the order of `epoch` from now on (Lightning calls this)."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[np.ndarray]:
        # A generator, so that epoch and start are read with the first batch: Lightning sets them after iter()
        shape = (self.steps, self.world, self.batch_size)
        rng, rounds = np.random.default_rng((self.seed, self.epoch)), math.ceil(math.prod(shape) / len(self.rows))
        order = np.concatenate([rng.permutation(self.rows) for _ in range(rounds)])
        batches = order[: math.prod(shape)].reshape(shape)
        start, self.start = self.start, 0
        yield from batches[start:, self.rank]


def in_order(rows: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Cut `rows` into batches, the last one being what remains."""
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def dealt(rows: np.ndarray, batch_size: int, rank: int, world: int) -> list[np.ndarray]:
    """Deal batches of `rows` out to the ranks in turn, none twice; the batches are alike for any number of ranks.

    Only where there are fewer batches than ranks are they cut smaller: Lightning wants one for every rank.

    Raises:
        UserError: there are fewer rows than ranks.
    """
    if 0 < len(rows) < world:
        raise UserError(
            f"{len(rows)} held-out sample(s) cannot be shared by {world} processes. "
            f"Raise data.val_fraction and data.test_fraction, or use trainer.devices={len(rows)}."
        )
    enough = math.ceil(len(rows) / batch_size) >= world
    return in_order(rows, batch_size if enough else max(1, len(rows) // world))[rank::world]


def make_loader(dataset: Rows, batches: Sampler[np.ndarray] | Sequence[np.ndarray]) -> DataLoader[Any]:
    """Load `batches` of rows in this process: reading a memory map leaves worker processes nothing to do."""
    return DataLoader(
        dataset,
        sampler=batches,
        batch_size=None,  # the sampler hands over whole batches
        num_workers=0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else every pass would draw from the global one, and resuming be inexact
    )
