"""Two interleaved spiral arms in the plane: one curve, if one knew."""

from typing import Any

import lightning.pytorch as pl
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from fewlabels.data.batches import EpochBatches, Rows, dealt, in_order, make_loader
from fewlabels.distributed import rank, world_size
from fewlabels.errors import UserError

RADIUS = 2.0
"""Where the arms end. The mean of x² and of y² is then 1, which is what networks like."""
SPLITS = ("train", "val", "test")


def spiral(position: NDArray[np.float64], turns: float) -> NDArray[np.float64]:
    """Walk along two Archimedean arms that meet in the origin, each the other's reflection in that point.

    Args:
        position: [n] in [-1, 1]: arc length from the centre as a share of an arm's, negative on arm B.
        turns: How often an arm winds about the centre; the arms lie RADIUS / (2 turns) apart.

    Returns:
        [n, 2]; the outer ends have distance RADIUS from the origin.
    """
    angles = np.linspace(0, 2 * np.pi * turns, 10_001)
    length = (angles * np.sqrt(1 + angles**2) + np.arcsinh(angles)) / 2  # of r = angle, up to a constant factor
    angle = np.interp(np.abs(position), length / length[-1], angles)
    radius = np.sign(position) * RADIUS * angle / angles[-1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


class Spirals(pl.LightningDataModule):
    """Points scattered about two spiral arms, drawn anew for every seed.

    Each split is a sample of its own that covers the whole curve evenly: n equal lengths of arc, one point somewhere in
    each. So the neighbour graph of one split has no holes, and splits of equal size pose the same task.

    Args:
        n_points: Of all splits together.
        noise: Standard deviation of the scatter, in the coordinates' unit (the arms end at radius 2).
        turns: Of each arm about the centre.
        batch_size: Points per device and step.
        seed: Of the points and of the order of training.
        val_fraction: Share of the points for validation.
        test_fraction: Share of the points for the final test.
        passes: How often an epoch shows each training point. There are few; an epoch of three steps would be all
            bookkeeping.

    Attributes:
        classes: Of `labels`: which arm.
        labels: int64 [N]; training does not need them.
        notices: Nothing to announce.

    Raises:
        UserError: a setting is out of range.
    """

    name, kind, synthetic = "spirals", "points", False
    size, channels, mean, std = None, 2, (0.0,), (1.0,)

    def __init__(
        self,
        *,
        n_points: int,
        noise: float,
        turns: float,
        batch_size: int,
        seed: int,
        val_fraction: float,
        test_fraction: float,
        passes: int = 1,
    ) -> None:
        super().__init__()
        _at_least("n_points batch_size passes", 1, n_points, batch_size, passes)
        _at_least("noise val_fraction test_fraction", 0, noise, val_fraction, test_fraction)
        if turns <= 0:
            raise UserError(f"data.turns={turns} must be above 0, such as 1.5.")
        if val_fraction + test_fraction >= 1:
            raise UserError(
                f"data.val_fraction={val_fraction} and data.test_fraction={test_fraction} leave no points to train on: "
                "their sum must be below 1."
            )
        self.n_points, self.noise, self.turns = n_points, noise, turns
        self.batch_size, self.seed, self.passes = batch_size, seed, passes
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        self.classes = ["arm A", "arm B"]
        self.notices: list[str] = []

    def setup(self, stage: str | None = None) -> None:
        """Draw the points (every process draws the same)."""
        if hasattr(self, "labels"):
            return
        val, test = round(self.n_points * self.val_fraction), round(self.n_points * self.test_fraction)
        edges = np.cumsum([0, self.n_points - val - test, val, test])
        self._rows = {s: np.arange(*edges[i : i + 2], dtype=np.int64) for i, s in enumerate(SPLITS)}
        rng = np.random.default_rng(self.seed)
        position = np.concatenate([_even(len(rows), rng) for rows in self._rows.values()])
        noise = self.noise * rng.standard_normal((self.n_points, 2))
        self._points = (spiral(position, self.turns) + noise).astype(np.float32)
        self._position = position.astype(np.float32)
        self.labels = (position < 0).astype(np.int64)
        self.paths = [f"{self.classes[label]}/{row}" for row, label in enumerate(self.labels)]

    def indices(self, split: str) -> NDArray[np.int64]:
        """Rows of "train", "val" or "test" in the table of all points, int64 [n]; none for any other split."""
        return self._rows.get(split, np.empty(0, np.int64))

    def points(self, split: str) -> NDArray[np.float32]:
        """Coordinates, float32 [n, 2]."""
        return self._points[self.indices(split)]

    def position(self, split: str) -> NDArray[np.float32]:
        """The truth, float32 [n]: where on the curve a point was before the noise, see `spiral`; never trained on."""
        return self._position[self.indices(split)]

    def labelled(self) -> NDArray[np.int64]:
        """Rows of the training points; which arm they lie on is known of all."""
        return self.indices("train")

    def train_dataloader(self) -> DataLoader[Any]:
        """Load "train" `passes` times over, shuffled anew in every epoch; every rank gets its share of each batch."""
        rows = np.tile(self.indices("train"), self.passes)
        batches = EpochBatches(rows, self.batch_size, self.seed, rank(), world_size())
        return make_loader(self._dataset(), batches)

    def val_dataloader(self) -> DataLoader[Any]:
        """Load "val" in order; batch k goes to rank k % world. Ranks may get different numbers of batches."""
        return make_loader(self._dataset(), dealt(self.indices("val"), self.batch_size, rank(), world_size()))

    def test_dataloader(self) -> DataLoader[Any]:
        """Load "test", likewise."""
        return make_loader(self._dataset(), dealt(self.indices("test"), self.batch_size, rank(), world_size()))

    def loader(self, split_or_indices: str | NDArray[np.int64], batch_size: int | None = None) -> DataLoader[Any]:
        """Load a whole split, or any rows, in order, on this process alone."""
        rows = self.indices(split_or_indices) if isinstance(split_or_indices, str) else split_or_indices
        return make_loader(self._dataset(), in_order(np.asarray(rows, np.int64), batch_size or self.batch_size))

    def _dataset(self) -> Rows:
        return Rows(self._points, self.labels)


def _even(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """One position in each of n equal parts of [-1, 1], in random order."""
    position = (np.arange(n) + rng.random(n)) / max(n, 1) * 2 - 1
    rng.shuffle(position)
    return position


def _at_least(keys: str, least: float, *values: float) -> None:
    for key, value in zip(keys.split(), values, strict=True):
        if not value >= least:
            raise UserError(f"data.{key}={value} must be at least {least}.")
