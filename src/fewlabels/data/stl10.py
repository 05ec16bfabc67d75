"""STL-10: 13,000 labelled and 100,000 unlabelled colour images of 96 pixels, from torchvision."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np

from fewlabels.data.base import ImageDataModule
from fewlabels.data.image_store.arrays import official_source, torchvision_set
from fewlabels.data.image_store.store import Source


class Stl10(ImageDataModule):
    """Pretraining includes the unlabelled images; the official 8,000 test images are the test split."""

    name = "stl10"
    sources = ("auto", "folder", "download")
    official_test = True

    def find_source(self) -> Source:
        """Read torchvision's files only if there is no store yet."""
        return official_source(self, self._load)

    def _load(self) -> tuple[list[str], Iterable[np.ndarray]]:
        from torchvision.datasets import STL10

        root = Path(self.root or "data/stl10")
        download = self.download or self.source == "download"
        paths: list[str] = []
        arrays: list[np.ndarray] = []
        for split in ("train", "test"):
            data = torchvision_set(STL10, self.name, root, download=download, split=split)
            paths += [f"{data.classes[label]}/{split}-{number:05d}" for number, label in enumerate(data.labels)]
            arrays.append(data.data.transpose(0, 2, 3, 1))
        # Mapped rather than loaded, because it has 2.8 GB. The file stores every image column by column.
        file = root / STL10.base_folder / STL10.train_list[2][0]
        arrays.append(np.memmap(file, np.uint8, "r").reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1))
        paths += [f"unlabelled-{number:06d}" for number in range(len(arrays[-1]))]
        return paths, chain.from_iterable(arrays)
