"""STL-10: 13,000 labelled and 100,000 unlabelled colour images of 96 pixels, from torchvision."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np

from fewlabels.data.arrays import official_source, torchvision_set
from fewlabels.data.base import ImageDataModule
from fewlabels.data.store import Source


class Stl10(ImageDataModule):
    """Pretraining sees the unlabelled images too; the official 8,000 test images are the test."""

    name = "stl10"
    sources = ("auto", "folder", "download")
    official_test = True

    def find(self) -> Source:
        """Take torchvision's copy, fetched only if that was asked for and there is no store yet."""
        return official_source(self, self._load)

    def _load(self) -> tuple[list[str], Iterable[np.ndarray]]:
        from torchvision.datasets import STL10

        root = Path(self.root or "data/stl10")
        download = self.download or self.source == "download"
        paths: list[str] = []
        parts: list[np.ndarray] = []
        for split in ("train", "test"):
            part = torchvision_set(STL10, self.name, root, download=download, split=split)
            paths += [f"{part.classes[label]}/{split}-{number:05d}" for number, label in enumerate(part.labels)]
            parts.append(part.data.transpose(0, 2, 3, 1))
        # Mapped and not loaded, being 2.8 GB; in the file every image's columns come before its rows.
        file = root / STL10.base_folder / STL10.train_list[2][0]
        parts.append(np.memmap(file, np.uint8, "r").reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1))
        paths += [f"unlabelled-{number:06d}" for number in range(len(parts[-1]))]
        return paths, chain.from_iterable(parts)
