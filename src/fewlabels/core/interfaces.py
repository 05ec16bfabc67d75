"""Protocols between packages: what a data module offers to methods, callbacks, training and evaluation."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeGuard

from numpy.typing import NDArray

if TYPE_CHECKING:  # so that a sweep's page, and a mistake on a command line, need not wait for torch
    from torch import Tensor
    from torch.utils.data import DataLoader

Modality = Literal["images", "points"]


class DataModule(Protocol):
    """Samples in a table of N rows, split into "train", "val", "test" and, of images, "unseen".

    Attributes:
        name: The dataset's name, as in `data=NAME`.
        modality: "images" (uint8 [B, C, H, W]) or "points" (float32 [B, 2]).
        synthetic: Whether the images are synthetic; figures and reports then say so.
        channels: Channels of an image, or coordinates of a point.
        size: Side of the square images in pixels; None for points.
        mean: Per-channel mean for normalisation, of pixels in [0, 1].
        std: Per-channel standard deviation, likewise.
        batch_size: Samples per device and step.
        classes: Class names that `labels` index into: `seen_classes`, then `unseen_classes`.
        seen_classes: Classes that pretraining may see.
        unseen_classes: Classes held out from pretraining.
        paths: [N] relative path of every sample.
        labels: int64 [N] class index; -1 means unlabelled.
        digests: int64 [N]; equal only for samples of equal content, in any data module.
        root: The folder of images, as configured; None for the default folder, and for points.
        notices: Sentences about the samples that logs and reports repeat.
        fingerprint: Changes when the set of images changes; None where the configuration determines the samples.
        store_key: Identifies the decoded pixels; None where they are not stored.
    """

    name: str
    modality: Modality
    synthetic: bool
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    batch_size: int
    classes: list[str]
    seen_classes: list[str]
    unseen_classes: list[str]
    paths: list[str]
    labels: NDArray[Any]
    digests: NDArray[Any]
    root: str | None
    notices: list[str]

    @property
    def size(self) -> int | None: ...  # noqa: D102 - read-only, so that a subclass may narrow the type

    @property
    def fingerprint(self) -> str | None: ...  # noqa: D102

    @property
    def store_key(self) -> str | None: ...  # noqa: D102

    def setup(self, stage: str | None = None) -> None:
        """Load the table and split it."""

    def indices(self, split: str) -> NDArray[Any]:
        """Rows of a split, int64 [n], sorted."""

    def restrict_test(self, rows: NDArray[Any]) -> None:
        """Leave only `rows` in the test split, from now on."""

    def labelled(self) -> NDArray[Any]:
        """Rows of the training samples whose labels may be used, int64 [m], sorted."""

    def train_dataloader(self) -> "DataLoader[Any]":
        """This rank's shuffled training batches."""

    def val_dataloader(self) -> "DataLoader[Any]":
        """This rank's validation batches, in a fixed order."""

    def test_dataloader(self) -> "DataLoader[Any]":
        """This rank's test batches, in a fixed order."""

    def loader(self, split_or_indices: str | NDArray[Any], batch_size: int | None = None) -> "DataLoader[Any]":
        """A whole split, or any rows, in order, on this process alone."""


class ImageData(DataModule, Protocol):
    """A data module of images.

    Attributes:
        keys: [N]; images with equal keys lie on one side of every split.
        folder: Where the files are that `paths` are relative to; None if the images are no files.
        cache_dir: Folder of what is computed once, as configured; None: the default one.
    """

    keys: list[str]
    folder: Path | None
    cache_dir: str | None

    @property
    def size(self) -> int: ...  # noqa: D102

    @property
    def white(self) -> float | None:
        """The value that is white in images of more than 8 bits; None: there are none."""

    def images(self, indices: NDArray[Any] | Sequence[int]) -> "Tensor":
        """Read rows, uint8 [n, C, H, W]."""

    def use_labelled_only(self) -> NDArray[Any]:
        """From now on, train on labelled images only; returns their number per seen class, int64 [K]."""


class PointData(DataModule, Protocol):
    """A data module of points along a curve."""

    def points(self, split: str) -> NDArray[Any]:
        """Coordinates, float32 [n, 2]."""

    def position(self, split: str) -> NDArray[Any]:
        """Ground-truth position on the curve, float32 [n]."""


def is_points(data: DataModule) -> TypeGuard[PointData]:
    """Whether a data module holds points."""
    return data.modality == "points"


def is_images(data: DataModule) -> TypeGuard[ImageData]:
    """Whether a data module holds images."""
    return data.modality == "images"
