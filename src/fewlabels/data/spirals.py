"""Points along two interleaved spiral arms in the plane, with their true position on the curve."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import Modality
from fewlabels.data.batches import StoreDataset, TableDataModule
from fewlabels.data.image_store.setting_checks import check_minimum

RADIUS = 2.0
"""Distance of the arms' outer ends from the origin. The means of x² and y² are then about 1."""
SPLITS = ("train", "val", "test")


def spiral(position: NDArray[np.float64], turns: float) -> NDArray[np.float64]:
    """Points on two Archimedean arms that meet in the origin; each arm is the other's reflection in the origin.

    Args:
        position: [n] in [-1, 1]: arc length from the origin as a fraction of an arm's length, negative on arm B.
        turns: Turns of each arm around the origin; the arms are RADIUS / (2 turns) apart.

    Returns:
        [n, 2]; the outer ends have distance RADIUS from the origin.
    """
    angles = np.linspace(0, 2 * np.pi * turns, 10_001)
    length = (angles * np.sqrt(1 + angles**2) + np.arcsinh(angles)) / 2  # of r = angle, up to a constant factor
    angle = np.interp(np.abs(position), length / length[-1], angles)
    radius = np.sign(position) * RADIUS * angle / angles[-1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


class Spirals(TableDataModule):
    """Noisy points on two spiral arms, generated from the seed.

    Each split of n points covers the whole curve evenly: the curve is divided into n pieces of equal length, with one
    random point in each. So the neighbour graph of a split has no gaps, and splits of equal size are equally hard.

    Args:
        n_points: Points of all splits together.
        noise: Standard deviation of the noise, in the unit of the coordinates (the arms end at radius 2).
        turns: Turns of each arm around the origin.
        batch_size: Points per device and step.
        seed: Seed of the points and of the order of training.
        val_fraction: Fraction of the points for validation.
        test_fraction: Fraction of the points for the final test.
        passes: Times that an epoch uses each training point; one pass would be an epoch of a few steps.

    Attributes:
        classes: Names of the two arms.
        labels: int64 [N], the arm of each point.
        digests: int64 [N]; equal only for equal points.
        notices: Always empty.

    Raises:
        UserError: A setting is out of range.
    """

    name, synthetic = "spirals", False
    modality: Modality = "points"
    channels = 2
    size: int | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    root: str | None = None
    fingerprint: str | None = None
    store_key: str | None = None

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
        for key, number in {"n_points": n_points, "batch_size": batch_size, "passes": passes}.items():
            check_minimum(key, number, 1)
        for key, value in {"noise": noise, "val_fraction": val_fraction, "test_fraction": test_fraction}.items():
            check_minimum(key, value, 0)
        if turns <= 0:
            raise UserError(f"data.turns={turns} must be above 0, such as 1.5.")
        if val_fraction + test_fraction >= 1:
            raise UserError(
                f"data.val_fraction={val_fraction} and data.test_fraction={test_fraction}: their sum must be below 1; "
                "the rest is for training."
            )
        self.n_points, self.noise, self.turns = n_points, noise, turns
        self.batch_size, self.seed, self.passes = batch_size, seed, passes
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        self.classes = self.seen_classes = ["arm A", "arm B"]
        self.unseen_classes: list[str] = []
        self.notices: list[str] = []

    def setup(self, stage: str | None = None) -> None:
        """Generate the points; every process generates the same."""
        if hasattr(self, "labels"):
            return
        val, test = round(self.n_points * self.val_fraction), round(self.n_points * self.test_fraction)
        edges = np.cumsum([0, self.n_points - val - test, val, test])
        self._rows = {s: np.arange(*edges[i : i + 2], dtype=np.int64) for i, s in enumerate(SPLITS)}
        rng = np.random.default_rng(self.seed)
        position = np.concatenate([_even_positions(len(rows), rng) for rows in self._rows.values()])
        noise = self.noise * rng.standard_normal((self.n_points, 2))
        self._points = (spiral(position, self.turns) + noise).astype(np.float32)
        self.digests = self._points.view(np.int64)[:, 0]  # both coordinates of a point as one number
        self._position = position.astype(np.float32)
        self.labels: NDArray[Any] = (position < 0).astype(np.int64)
        self.paths = [f"{self.classes[label]}/{row}" for row, label in enumerate(self.labels)]

    def points(self, split: str) -> NDArray[np.float32]:
        """Coordinates, float32 [n, 2]."""
        return self._points[self.indices(split)]

    def position(self, split: str) -> NDArray[np.float32]:
        """Ground-truth position on the curve before noise, float32 [n] in [-1, 1], see `spiral`; not trained on."""
        return self._position[self.indices(split)]

    def labelled(self) -> NDArray[np.int64]:
        """Rows of the training points, int64 [m]; all of them are labelled with their arm."""
        return self.indices("train")

    def training_rows(self) -> NDArray[np.int64]:
        """Rows of an epoch: "train", `passes` times."""
        return np.tile(self.indices("train"), self.passes)

    def table(self) -> StoreDataset:
        """All points with their arm."""
        return StoreDataset(self._points, self.labels)


def _even_positions(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """One random position in each of n equal pieces of [-1, 1], in random order."""
    position = (np.arange(n) + rng.random(n)) / max(n, 1) * 2 - 1
    rng.shuffle(position)
    return position
