"""Base class of all image data modules: find the images, open their store, split them, load batches."""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import Modality
from fewlabels.data.batches import StoreDataset
from fewlabels.data.image_store import setting_checks
from fewlabels.data.image_store.decode import page_of
from fewlabels.data.image_store.folder import folder_source, inner_folder
from fewlabels.data.image_store.store import Source, Store, open_store
from fewlabels.data.splits import assignment, classes
from fewlabels.data.splits.class_names import ClassNaming
from fewlabels.data.splits.keys import split_keys
from fewlabels.data.splits.labelled_table import LabelledTable

log = logging.getLogger(__name__)


class ImageDataModule(LabelledTable):
    """Images with or without class folders, decoded once, split by the hash of their name (an `ImageData`).

    Args:
        root: The folder of images; None: `data/<name>`, for datasets that can be downloaded or synthetic.
        source: "auto", "folder", "synthetic" or "download"; see `find_source`.
        size: Side of the square images, pixels.
        channels: 1 (greyscale), 3 (colour), or as many as .npy files have.
        batch_size: Images per device and step.
        seed: Seed of the training order and the label subsets; neither splits nor unseen classes depend on it.
        val_fraction: Fraction of the images (of seen classes) for validation.
        test_fraction: Likewise, for the final test.
        split_seed: Seed of the splits and of the draw of unseen classes.
        split_by: "name" or "path"; see `split_keys`.
        group: Which images lie on one side of every split; see `group_names`.
        mean: Per channel, of pixels in [0, 1]; see `setting_checks.normalisation`.
        std: Per channel, likewise.
        resize: "pad", "crop" or "squash"; see `Decoding`, as of the next three.
        white: Value that is white in images of more than 8 bits; None: found.
        crop_edges: Pixels to cut off: top, right, bottom, left.
        pages: "first" or "all".
        seen: The only classes to pretrain on; None: all except the unseen.
        unseen: Classes held out from pretraining: names, or how many to draw.
        min_class_size: Smaller classes are excluded, unless named in `seen` or `unseen`.
        labels: A labels.csv that names the classes; None: folders do. See `ClassNaming`, as of the next two.
        class_level: Depth of the folders that name the classes; None: 1, or 2 below train/ and test/.
        unlabelled: Names of classes whose images are unlabelled.
        label_fraction: Fraction of the training labels that `labelled` returns, in (0, 1].
        steps_per_epoch: Optimizer steps in an epoch; None: one pass over the images.
        download: Whether the dataset may be downloaded if it is not on disk.
        cache_dir: Folder of the stores; None: $FEWLABELS_CACHE, else ~/.cache/fewlabels.

    Attributes:
        labels: int64 [N]; -1 for unlabelled images and those of excluded classes (the latter are in no split).
        keys: [N]; images with equal keys lie on one side of every split.
        digests: int64 [N] of the files' content.
        folder: Where the files are that `paths` are relative to: `root`, or a folder in it; None if they are no files.
        notices: Sentences that logs and reports should repeat.

    Raises:
        UserError: A setting is out of range, or the images are not available.
    """

    name = "images"
    modality: Modality = "images"
    sources: tuple[str, ...] = ("auto", "folder")  # accepted values of `source`
    official_test = False  # whether the dataset's own test images are the test split
    folder: Path | None = None
    _store: Store | None = None
    layouts: tuple[str, ...] = ()  # subfolders of the root that may contain the class folders

    def __init__(
        self, *, root: str | None, source: str, size: int, channels: int, batch_size: int, seed: int,
        val_fraction: float, test_fraction: float, mean: Sequence[float], std: Sequence[float], split_seed: int = 0,
        split_by: str = "name", group: str | int | None = None, resize: str = "pad", white: float | None = None,
        crop_edges: Sequence[int] = (0, 0, 0, 0), pages: str = "first", seen: Sequence[str] | None = None,
        unseen: int | Sequence[str] | None = None, min_class_size: int = 1, labels: str | None = None,
        class_level: int | None = None, unlabelled: Sequence[str] = (), label_fraction: float = 1.0,
        steps_per_epoch: int | None = None, download: bool = False, cache_dir: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.root, self.source, self.download, self.cache_dir = root, source, download, cache_dir
        self.size, self.channels, self.resize = size, channels, resize
        self.batch_size, self.seed, self.steps_per_epoch = batch_size, seed, steps_per_epoch
        self.val_fraction, self.test_fraction, self.label_fraction = val_fraction, test_fraction, label_fraction
        self.seen, self.unseen, self.min_class_size = seen, unseen, min_class_size
        self.split_seed, self.split_by, self.group, self.notices = split_seed, split_by, group, list[str]()
        self.naming = ClassNaming(labels, class_level, tuple(unlabelled))
        self.decoding = setting_checks.decoding(resize, white, crop_edges, pages)
        setting_checks.check_image_settings(
            source=source, sources=self.sources, size=size, channels=channels, batch_size=batch_size,
            min_class_size=min_class_size, steps_per_epoch=steps_per_epoch, split_by=split_by,
        )  # fmt: skip
        assignment.check_label_fraction(label_fraction)
        self.mean, self.std = setting_checks.normalisation(mean, std, channels)

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
                raise UserError(f"data.root={root} does not exist. Give {setting_checks.remedy(self.sources)}.")
        root = inner_folder(root, self.layouts)
        source = folder_source(root, self.name, self.decoding, size=self.size, channels=self.channels)
        self.folder = None if self.decoding.pages == "all" else root
        return source

    def make_synthetic(self) -> Source:
        """Describe synthetic images (implemented by datasets that list "synthetic" in `sources`)."""
        raise NotImplementedError

    def download_to(self, root: Path) -> None:
        """Download the dataset to `root` (implemented by datasets with a public source)."""
        raise UserError(f"data.download: there is no public source for data={self.name}. Give data.root=FOLDER.")

    def assign(self) -> np.ndarray:
        """Assign each image to a split, str [N]."""
        settings = self.val_fraction, self.test_fraction, self.split_seed if self.split_by == "name" else None
        if (folders := self.naming.folder_splits(self.paths)) is not None:
            return assignment.assign_folders(folders, self.keys, *settings)
        if self.official_test:
            return assignment.assign_official(self.paths, self.keys, *settings)
        return assignment.keep_one_for_training(assignment.assign(self.keys, *settings), self.keys, self.labels)

    def prepare_data(self) -> None:
        """Download missing data and build the store (one process per machine)."""
        self._open()

    def setup(self, stage: str | None = None) -> None:
        """Open the store and split it (every process)."""
        if hasattr(self, "_rows"):
            return
        self.paths, self.digests = (store := self._open()).paths, store.digests
        files = [page_of(path)[0] for path in self.paths] if self.decoding.pages == "all" else self.paths
        self.keys = split_keys(files, self.digests, by=self.split_by, group=self.group)
        names, found = self.naming.names(self.paths)
        self.notices += found
        self._choose_classes(names)
        self._split(names)
        for notice in self.notices:
            log.info(notice)

    def _open(self) -> Store:
        if self._store is None:
            source = self.find_source()
            self._store, self.synthetic = open_store(source, self.cache_dir), source.synthetic
            self.notices += setting_checks.image_notices(self.name, source, self._store, self.sources)
        return self._store

    def _choose_classes(self, names: np.ndarray) -> None:
        """Choose the classes, given the class name of every image, str [N]; "" means unlabelled."""
        sizes, smallest = Counter(names[names != ""].tolist()), self.min_class_size
        chosen = classes.choose_classes(sizes, self.seen, self.unseen, min_class_size=smallest, seed=self.split_seed)
        self.seen_classes, self.unseen_classes, self.classes = chosen.seen, chosen.unseen, chosen.seen + chosen.unseen
        self.notices += setting_checks.excluded_notices(chosen.excluded, sizes, smallest)

    def _split(self, names: np.ndarray) -> None:
        """Label every image and list the rows of every split."""
        index = {name: label for label, name in enumerate(self.classes)}
        self.labels: NDArray[Any] = np.array([index.get(name, -1) for name in names], np.int64)
        unseen = self.labels >= len(self.seen_classes)
        usable = ((self.labels >= 0) | (names == "")) & ~unseen
        assigned = self.assign()
        self._rows = {split: np.flatnonzero(usable & (assigned == split)) for split in ("train", "val", "test")}
        self._rows["unseen"] = np.flatnonzero(unseen)
        if self.split_by != "path":
            self._drop_copies()
        self.notices += setting_checks.copy_notices(self.paths, self.digests, names)

    def _drop_copies(self) -> None:
        """Leave copies of held-out images out of training: in another class, or of an official test split."""
        held_out = self.digests[np.concatenate([self._rows["test"], self._rows["unseen"]])]
        for split in ("train", "val"):
            self._rows[split] = self._rows[split][~np.isin(self.digests[self._rows[split]], held_out)]

    @property
    def fingerprint(self) -> str:
        """Changes when the set of images changes: their number, and a hash of their paths."""
        names = hashlib.sha256("\n".join(self.paths).encode(errors="surrogateescape")).hexdigest()
        return f"{len(self.paths)} images, {names[:12]}"

    @property
    def white(self) -> float | None:
        """The value that is white in images of more than 8 bits; None: there are none."""
        return self._open().white

    @property
    def unreadable(self) -> dict[str, str]:
        """{path: why it is left out}."""
        return self._open().corrupt

    @property
    def file_facts(self) -> NDArray[np.void] | None:
        """Of the [N] files, see `FACTS`; None if the images are no files."""
        return self._open().facts

    @property
    def store_key(self) -> str:
        """Identifies the decoded pixels: the name of their store."""
        return self._open().key

    def images(self, indices: np.ndarray | Sequence[int]) -> torch.Tensor:
        """Read rows of the store, uint8 [n, C, H, W]."""
        return self.table()[np.asarray(indices, np.int64)].x

    def table(self) -> StoreDataset:
        """All images with their labels."""
        return StoreDataset(self._open().images, self.labels)
