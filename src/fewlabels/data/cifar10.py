"""CIFAR-10: 60,000 colour images of 32 pixels in ten classes, from torchvision."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fewlabels.data.base import ImageDataModule
from fewlabels.data.image_store.arrays import official_source, torchvision_set
from fewlabels.data.image_store.store import Source


class Cifar10(ImageDataModule):
    """The official 10,000 test images are the test split; val is a fraction of the other 50,000."""

    name = "cifar10"
    sources = ("auto", "folder", "download")
    official_test = True

    def find_source(self) -> Source:
        """Read torchvision's files only if there is no store yet."""
        return official_source(self, self._load)

    def _load(self) -> tuple[list[str], Iterable[np.ndarray]]:
        from torchvision.datasets import CIFAR10

        root = Path(self.root or "data/cifar10")
        download = self.download or self.source == "download"
        paths: list[str] = []
        images: list[np.ndarray] = []
        for split in ("train", "test"):
            data = torchvision_set(CIFAR10, self.name, root, download=download, train=split == "train")
            paths += [f"{data.classes[label]}/{split}-{number:05d}" for number, label in enumerate(data.targets)]
            images.append(data.data)
        return paths, np.concatenate(images)
