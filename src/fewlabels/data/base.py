"""What every image data module shares: find the images, open their store, split them, load batches."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from fewlabels.data import splits
from fewlabels.data.batches import EpochBatches, Rows, dealt, in_order, make_loader
from fewlabels.data.decode import RESIZES
from fewlabels.data.folder import folder_source
from fewlabels.data.settings import MIN_SIZE, at_least, normalisation, one_of, remarks
from fewlabels.data.store import Source, Store, open_store
from fewlabels.distributed import rank, world_size
from fewlabels.errors import UserError

log = logging.getLogger(__name__)


class ImageDataModule(pl.LightningDataModule):
    """Images in class folders or without, decoded once, split by the hash of their path.

    Args:
        root: The folder of images; None: `data/<name>`, where the set has a source of its own.
        source: "auto", "folder", "synthetic" or "download"; see `find`.
        size: Side of the square images, pixels.
        channels: 1 (greyscale) or 3 (colour).
        batch_size: Images per device and step.
        seed: Orders the epochs, draws unseen classes and label subsets. The train/val/test split does not hang on it.
        val_fraction: Share of the images (of seen classes) for validation.
        test_fraction: Share of the images (of seen classes) for the final test.
        mean: Per channel, of pixels in [0, 1]; one value serves all channels; three become one in greyscale.
        std: As `mean`.
        resize: "pad", "crop" or "squash"; see `decode.decode`.
        seen: The only classes to pretrain on; None: all but the unseen.
        unseen: Classes kept from pretraining altogether: names, or how many to draw.
        min_class_size: Smaller classes are set aside, unless named in `seen` or `unseen`.
        label_fraction: Share of the training labels that `labelled` gives, in (0, 1].
        steps_per_epoch: Optimiser steps in an epoch, however many images there are; None: one pass over them.
        download: Whether the set may be fetched when it is not on disk.
        cache_dir: Where stores live; None: the variable FEWLABELS_CACHE, else ~/.cache/fewlabels.

    Attributes:
        name: Of the set.
        synthetic: Whether the images were drawn by the program.
        classes: Names that `labels` index into: `seen_classes`, then `unseen_classes`.
        paths: [N] relative path of every image in the store.
        labels: int64 [N]; -1 for unlabelled images and those of classes set aside (the latter are in no split).
        notices: Plain sentences that a log or report should repeat.

    Raises:
        UserError: a setting is out of range, or the images cannot be had.
    """

    name = "images"
    sources: tuple[str, ...] = ("auto", "folder")  # what `source` may be
    official_test = False  # whether the set's own test images are the test
    layouts: tuple[str, ...] = ()  # where below the root the class folders may be instead

    def __init__(
        self,
        *,
        root: str | None,
        source: str,
        size: int,
        channels: int,
        batch_size: int,
        seed: int,
        val_fraction: float,
        test_fraction: float,
        mean: Sequence[float],
        std: Sequence[float],
        resize: str = "pad",
        seen: Sequence[str] | None = None,
        unseen: int | Sequence[str] | None = None,
        min_class_size: int = 1,
        label_fraction: float = 1.0,
        steps_per_epoch: int | None = None,
        download: bool = False,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        one_of("source", source, self.sources)
        one_of("resize", resize, RESIZES)
        one_of("channels", channels, (1, 3))
        at_least("size", size, MIN_SIZE, "pixels")
        at_least("batch_size", batch_size, 1, "images per device")
        at_least("min_class_size", min_class_size, 1, "images")
        at_least("steps_per_epoch", 1 if steps_per_epoch is None else steps_per_epoch, 1, "step, or null")
        splits.check_label_fraction(label_fraction)
        self.root, self.source, self.download, self.cache_dir = root, source, download, cache_dir
        self.size, self.channels, self.resize = size, channels, resize
        self.batch_size, self.seed = batch_size, seed
        self.val_fraction, self.test_fraction, self.label_fraction = val_fraction, test_fraction, label_fraction
        self.seen, self.unseen, self.min_class_size = seen, unseen, min_class_size
        self.mean, self.std = normalisation(mean, std, channels)
        self.steps_per_epoch, self.with_labels = steps_per_epoch, False
        self.notices: list[str] = []
        self._store: Store | None = None

    def find(self) -> Source:
        """Settle where the images come from, fetching or drawing them if that was asked for.

        "folder" takes them from `root`; "download" fetches them there unless it has some; "synthetic" draws them.
        "auto" is "folder", or "download" if that is allowed and the root is missing; they are drawn only if no root
        was given and the default one does not exist, which `notices` then says.

        Raises:
            UserError: there are none there, and nothing else was asked for.
        """
        if self.source == "synthetic":
            return self.draw()
        root = Path(self.root).expanduser() if self.root else Path("data") / self.name
        if not root.exists() or (root.is_dir() and not any(root.iterdir())):
            if self.download or self.source == "download":
                self.fetch(root)
            elif self.source == "auto" and self.root is None and "synthetic" in self.sources and not root.exists():
                return self.draw()
            elif not root.exists():
                raise UserError(f"data.root={root} does not exist. Give the folder of images{self._remedy()}.")
        root = next((root / layout for layout in self.layouts if (root / layout).is_dir()), root)
        return folder_source(root, self.name, resize=self.resize, size=self.size, channels=self.channels)

    def draw(self) -> Source:
        """Draw a synthetic set (sets that list "synthetic" in `sources` answer this)."""
        raise NotImplementedError

    def fetch(self, root: Path) -> None:
        """Download the set to `root` (sets with a public source answer this)."""
        raise UserError(f"data.download: there is no public source for data={self.name}. Give data.root=FOLDER.")

    def assign(self, paths: Sequence[str]) -> np.ndarray:
        """Name the split of each path, str [N]."""
        assign = splits.assign_official if self.official_test else splits.assign
        return assign(paths, self.val_fraction, self.test_fraction)

    def prepare_data(self) -> None:
        """Fetch what is missing and build the store (one process per machine)."""
        self._open()

    def setup(self, stage: str | None = None) -> None:
        """Open the store and split it (every process)."""
        if hasattr(self, "_rows"):
            return
        self.paths = self._open().paths
        names = np.array([path.split("/", 1)[0] if "/" in path else "" for path in self.paths], dtype=object)
        self._classify(names)
        self._split(names)
        for notice in self.notices:
            log.info(notice)

    def _open(self) -> Store:
        if self._store is None:
            source = self.find()
            self._store = open_store(source, self.cache_dir)
            self.synthetic = source.synthetic
            self.notices += remarks(self.name, source, self._store, self._remedy())
        return self._store

    def _remedy(self) -> str:
        return " or data.download=true" if "download" in self.sources else ""

    def _classify(self, names: np.ndarray) -> None:
        """Settle the classes from the class name of every image, str [N], "" meaning none."""
        found, counts = np.unique(names[names != ""].astype(str), return_counts=True)
        sizes = dict(zip(found.tolist(), counts.tolist(), strict=True))
        smallest = self.min_class_size
        classes = splits.choose_classes(sizes, self.seen, self.unseen, min_class_size=smallest, seed=self.seed)
        self.seen_classes, self.unseen_classes = classes.seen, classes.unseen
        self.classes = classes.seen + classes.unseen
        if aside := classes.aside:
            count, more = sum(sizes[name] for name in aside), ", …" if len(aside) > 3 else ""
            self.notices.append(
                f"{count} images of {len(aside)} classes are set aside (fewer than data.min_class_size={smallest} "
                f"images, or not named in data.seen): {', '.join(aside[:3])}{more}"
            )

    def _split(self, names: np.ndarray) -> None:
        """Label every image and list the rows of every split."""
        number = {name: label for label, name in enumerate(self.classes)}
        self.labels = np.array([number.get(name, -1) for name in names], np.int64)
        unseen = self.labels >= len(self.seen_classes)
        usable = ((self.labels >= 0) | (names == "")) & ~unseen
        assigned = self.assign(self.paths)
        self._rows = {split: np.flatnonzero(usable & (assigned == split)) for split in ("train", "val", "test")}
        self._rows["unseen"] = np.flatnonzero(unseen)

    @property
    def fingerprint(self) -> str:
        """Differs when the images do: their number, and a hash of their paths."""
        names = hashlib.sha256("\n".join(self.paths).encode(errors="surrogateescape")).hexdigest()
        return f"{len(self.paths)} images, {names[:12]}"

    def indices(self, split: str) -> np.ndarray:
        """Rows of "train", "val" or "test" (seen classes and unlabelled images) or "unseen", int64 [n], sorted."""
        return self._rows[split]

    def labelled(self, fraction: float | None = None) -> np.ndarray:
        """Rows of the training images whose labels may be used, int64 [m], sorted; see `splits.nested_subset`."""
        fraction = self.label_fraction if fraction is None else fraction
        return splits.nested_subset(self.paths, self.labels, self.indices("train"), fraction, self.seed)

    def images(self, indices: np.ndarray | Sequence[int]) -> torch.Tensor:
        """Read rows of the store, uint8 [n, C, H, W]."""
        return self._dataset()[np.asarray(indices, np.int64)].x

    def use_labels(self) -> NDArray[np.int64]:
        """Train from now on on `labelled` images alone, and hold out labelled ones alone.

        Returns:
            int64 [K], how many there are to train on of each of the `seen_classes`.

        Raises:
            UserError: fewer than two classes, or one of which no training image is labelled.
        """
        self.with_labels = True
        for split in ("val", "test") if rank() == 0 else ():
            splits.warn_of_absent(split, self.labels[self.indices(split)], self.seen_classes)
        return splits.count_labels(self.labels[self.labelled()], self.seen_classes)

    def train_dataloader(self) -> DataLoader[Any]:
        """Load all of "train", shuffled anew in every epoch; every rank gets its share of each global batch."""
        rows = self.labelled() if self.with_labels else self.indices("train")
        batches = EpochBatches(rows, self.batch_size, self.seed, rank(), world_size(), self.steps_per_epoch)
        return make_loader(self._dataset(), batches)

    def val_dataloader(self) -> DataLoader[Any]:
        """Load "val" in one fixed order; batch k goes to rank k % world. Ranks may get different numbers of batches.

        The order is shuffled: a batch of files in order is of one class, so that a loss among the images of a batch
        would mean something else than in training.
        """
        return self._dealt("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Load "test", likewise."""
        return self._dealt("test")

    def _dealt(self, split: str) -> DataLoader[Any]:
        rows = np.array([row for row in self.indices(split) if not self.with_labels or self.labels[row] >= 0], np.int64)
        rows = np.random.default_rng(0).permutation(rows)  # for runs of every seed the same
        return make_loader(self._dataset(), dealt(rows, self.batch_size, rank(), world_size()))

    def loader(self, split_or_indices: str | np.ndarray, batch_size: int | None = None) -> DataLoader[Any]:
        """Load a whole split, or any rows, in order, on this process alone."""
        rows = self.indices(split_or_indices) if isinstance(split_or_indices, str) else split_or_indices
        return make_loader(self._dataset(), in_order(np.asarray(rows, np.int64), batch_size or self.batch_size))

    def _dataset(self) -> Rows:
        return Rows(self._open().images, self.labels)
