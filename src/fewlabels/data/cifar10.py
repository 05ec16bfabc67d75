"""CIFAR-10: 60,000 colour images of 32 pixels, ten classes, from torchvision."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fewlabels.data.arrays import official_source, torchvision_set
from fewlabels.data.base import ImageDataModule
from fewlabels.data.store import Source


class Cifar10(ImageDataModule):
    """The official 10,000 test images are the test; val is a share of the 50,000 others."""

    name = "cifar10"
    sources = ("auto", "folder", "download")
    official_test = True

    def find(self) -> Source:
        """Take torchvision's copy, fetched only if that was asked for and there is no store yet."""
        return official_source(self, self._load)

    def _load(self) -> tuple[list[str], Iterable[np.ndarray]]:
        from torchvision.datasets import CIFAR10

        root = Path(self.root or "data/cifar10")
        download = self.download or self.source == "download"
        paths: list[str] = []
        images: list[np.ndarray] = []
        for split in ("train", "test"):
            part = torchvision_set(CIFAR10, self.name, root, download=download, train=split == "train")
            paths += [f"{part.classes[label]}/{split}-{number:05d}" for number, label in enumerate(part.targets)]
            images.append(part.data)
        return paths, np.concatenate(images)
