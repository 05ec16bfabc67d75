"""Base class of all image data modules: find the images, open their store, split them, load batches."""

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

from fewlabels.core.distributed import rank, world_size
from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import Modality
from fewlabels.data import splits
from fewlabels.data.batches import EpochBatches, StoreDataset, consecutive_batches, make_loader, shard_batches
from fewlabels.data.image_store.folder import folder_source
from fewlabels.data.image_store.store import Source, Store, open_store
from fewlabels.data.setting_checks import check_image_settings, excluded_notice, image_notices, normalisation, remedy

log = logging.getLogger(__name__)


class ImageDataModule(pl.LightningDataModule):
    """Images with or without class folders, decoded once, split by the hash of their path (an `ImageData`).

    Args:
        root: The folder of images; None: `data/<name>`, for datasets that can be downloaded or synthetic.
        source: "auto", "folder", "synthetic" or "download"; see `find_source`.
        size: Side of the square images, pixels.
        channels: 1 (greyscale) or 3 (colour).
        batch_size: Images per device and step.
        seed: Seed of the training order, the unseen classes and the label subsets; the splits do not depend on it.
        val_fraction: Fraction of the images (of seen classes) for validation.
        test_fraction: Fraction of the images (of seen classes) for the final test.
        mean: Per channel, of pixels in [0, 1]; see `setting_checks.normalisation`.
        std: Per channel, likewise.
        resize: "pad", "crop" or "squash"; see `decode.decode`.
        seen: The only classes to pretrain on; None: all except the unseen.
        unseen: Classes held out from pretraining: names, or how many to draw.
        min_class_size: Smaller classes are excluded, unless named in `seen` or `unseen`.
        label_fraction: Fraction of the training labels that `labelled` returns, in (0, 1].
        steps_per_epoch: Optimizer steps in an epoch; None: one pass over the images.
        download: Whether the dataset may be downloaded if it is not on disk.
        cache_dir: Folder of the stores; None: $FEWLABELS_CACHE, else ~/.cache/fewlabels.

    Attributes:
        labels: int64 [N]; -1 for unlabelled images and those of excluded classes (the latter are in no split).
        notices: Sentences that logs and reports should repeat.

    Raises:
        UserError: A setting is out of range, or the images are not available.
    """

    name = "images"
    modality: Modality = "images"
    sources: tuple[str, ...] = ("auto", "folder")  # accepted values of `source`
    official_test = False  # whether the dataset's own test images are the test split
    layouts: tuple[str, ...] = ()  # subfolders of the root that may contain the class folders

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
        self.root, self.source, self.download, self.cache_dir = root, source, download, cache_dir
        self.size, self.channels, self.resize = size, channels, resize
        self.batch_size, self.seed, self.steps_per_epoch = batch_size, seed, steps_per_epoch
        self.val_fraction, self.test_fraction, self.label_fraction = val_fraction, test_fraction, label_fraction
        self.seen, self.unseen, self.min_class_size = seen, unseen, min_class_size
        check_image_settings(
            source=source, sources=self.sources, resize=resize, size=size, channels=channels, batch_size=batch_size,
            min_class_size=min_class_size, steps_per_epoch=steps_per_epoch,
        )  # fmt: skip
        splits.check_label_fraction(label_fraction)
        self.mean, self.std = normalisation(mean, std, channels)
        self.labelled_only = False
        self.notices: list[str] = []
        self._store: Store | None = None

    def find_source(self) -> Source:
        """Find the images; download or synthesise them if the settings allow it.

        "folder" reads `root`; "download" downloads to `root` if it is empty or missing; "synthetic" makes synthetic
        images. "auto" is "folder", or "download" if that is allowed and `root` is empty or missing. Synthetic images
        are made only if `root` is None and the default folder does not exist; `notices` then says so.

        Raises:
            UserError: There are no images, and the settings allow no other source.
        """
        if self.source == "synthetic":
            return self.make_synthetic()
        root = Path(self.root).expanduser() if self.root else Path("data") / self.name
        if not root.exists() or (root.is_dir() and not any(root.iterdir())):
            if self.download or self.source == "download":
                self.download_to(root)
            elif self.source == "auto" and self.root is None and "synthetic" in self.sources and not root.exists():
                return self.make_synthetic()
            elif not root.exists():
                raise UserError(f"data.root={root} does not exist. Give {remedy(self.sources)}.")
        root = next((root / layout for layout in self.layouts if (root / layout).is_dir()), root)
        return folder_source(root, self.name, resize=self.resize, size=self.size, channels=self.channels)

    def make_synthetic(self) -> Source:
        """Describe synthetic images (implemented by datasets that list "synthetic" in `sources`)."""
        raise NotImplementedError

    def download_to(self, root: Path) -> None:
        """Download the dataset to `root` (implemented by datasets with a public source)."""
        raise UserError(f"data.download: there is no public source for data={self.name}. Give data.root=FOLDER.")

    def assign(self, paths: Sequence[str]) -> np.ndarray:
        """Assign each path to a split, str [N]."""
        assign = splits.assign_official if self.official_test else splits.assign
        return assign(paths, self.val_fraction, self.test_fraction)

    def prepare_data(self) -> None:
        """Download missing data and build the store (one process per machine)."""
        self._open()

    def setup(self, stage: str | None = None) -> None:
        """Open the store and split it (every process)."""
        if hasattr(self, "_rows"):
            return
        self.paths = self._open().paths
        names = np.array([path.split("/", 1)[0] if "/" in path else "" for path in self.paths], dtype=object)
        self._choose_classes(names)
        self._split(names)
        for notice in self.notices:
            log.info(notice)

    def _open(self) -> Store:
        if self._store is None:
            source = self.find_source()
            self._store = open_store(source, self.cache_dir)
            self.synthetic = source.synthetic
            self.notices += image_notices(self.name, source, self._store, remedy(self.sources))
        return self._store

    def _choose_classes(self, names: np.ndarray) -> None:
        """Choose the classes, given the class name of every image, str [N]; "" means unlabelled."""
        unique, counts = np.unique(names[names != ""].astype(str), return_counts=True)
        sizes, smallest = dict(zip(unique.tolist(), counts.tolist(), strict=True)), self.min_class_size
        classes = splits.choose_classes(sizes, self.seen, self.unseen, min_class_size=smallest, seed=self.seed)
        self.seen_classes, self.unseen_classes = classes.seen, classes.unseen
        self.classes = classes.seen + classes.unseen
        if classes.excluded:
            self.notices.append(excluded_notice({name: sizes[name] for name in classes.excluded}, smallest))

    def _split(self, names: np.ndarray) -> None:
        """Label every image and list the rows of every split."""
        index = {name: label for label, name in enumerate(self.classes)}
        self.labels: NDArray[Any] = np.array([index.get(name, -1) for name in names], np.int64)
        unseen = self.labels >= len(self.seen_classes)
        usable = ((self.labels >= 0) | (names == "")) & ~unseen
        assigned = self.assign(self.paths)
        self._rows = {split: np.flatnonzero(usable & (assigned == split)) for split in ("train", "val", "test")}
        self._rows["unseen"] = np.flatnonzero(unseen)

    @property
    def fingerprint(self) -> str:
        """Changes when the set of images changes: their number, and a hash of their paths."""
        names = hashlib.sha256("\n".join(self.paths).encode(errors="surrogateescape")).hexdigest()
        return f"{len(self.paths)} images, {names[:12]}"

    @property
    def store_key(self) -> str:
        """Identifies the decoded pixels: the name of their store."""
        return self._open().key

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

    def use_labelled_only(self) -> NDArray[np.int64]:
        """Train on the `labelled` images only, and use only labelled images of val and test, from now on.

        Returns:
            int64 [K], the number of training images of each of the `seen_classes`.

        Raises:
            UserError: There are fewer than two classes, or one without any labelled training image.
        """
        self.labelled_only = True
        for split in ("val", "test") if rank() == 0 else ():
            splits.warn_missing_classes(split, self.labels[self.indices(split)], self.seen_classes)
        return splits.count_labels(self.labels[self.labelled()], self.seen_classes)

    def train_dataloader(self) -> DataLoader[Any]:
        """Load "train" in a new order every epoch; each rank gets its slice of each global batch."""
        rows = self.labelled() if self.labelled_only else self.indices("train")
        batches = EpochBatches(rows, self.batch_size, self.seed, rank(), world_size(), self.steps_per_epoch)
        return make_loader(self._dataset(), batches)

    def val_dataloader(self) -> DataLoader[Any]:
        """Load "val" in a fixed order; batch k goes to rank k % world size, so ranks may get different numbers.

        The order is shuffled, because files in order give batches of one class, and a contrastive loss within such
        batches is not comparable with the training loss.
        """
        return self._held_out_loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Load "test" in a fixed order, split among ranks like "val"."""
        return self._held_out_loader("test")

    def _held_out_loader(self, split: str) -> DataLoader[Any]:
        rows = self.indices(split)
        rows = rows[self.labels[rows] >= 0] if self.labelled_only else rows
        rows = np.random.default_rng(0).permutation(rows)  # the same for all seeds
        return make_loader(self._dataset(), shard_batches(rows, self.batch_size, rank(), world_size()))

    def loader(self, split_or_indices: str | np.ndarray, batch_size: int | None = None) -> DataLoader[Any]:
        """Load a whole split, or any rows, in order, on this process alone."""
        rows = self.indices(split_or_indices) if isinstance(split_or_indices, str) else split_or_indices
        batches = consecutive_batches(np.asarray(rows, np.int64), batch_size or self.batch_size)
        return make_loader(self._dataset(), batches)

    def _dataset(self) -> StoreDataset:
        return StoreDataset(self._open().images, self.labels)
