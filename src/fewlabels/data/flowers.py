"""Flowers: colour photographs in five classes, or synthetic images."""

from pathlib import Path
from typing import Any

from fewlabels.data.base import ImageDataModule
from fewlabels.data.image_store.download import download_archive
from fewlabels.data.image_store.store import Source
from fewlabels.data.synthetic.drawing import synthetic_source
from fewlabels.data.synthetic.synthetic_flowers import FLOWERS, flower


class Flowers(ImageDataModule):
    """Class folders in the layout of Kaggle's Flowers Recognition or TensorFlow's flower_photos.

    Args:
        url: The archive of flower_photos, downloaded if `download` allows it.
        archive_bytes: Its length; None: the length that the server states.
        sha256: Its SHA-256; None: it is not checked.
        **settings: As for `ImageDataModule`.
    """

    name = "flowers"
    sources = ("auto", "folder", "synthetic", "download")
    layouts = ("flower_photos", "flowers")

    def __init__(
        self, *, url: str, archive_bytes: int | None = None, sha256: str | None = None, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.url, self.archive_bytes, self.sha256 = url, archive_bytes, sha256

    def make_synthetic(self) -> Source:
        """Synthetic flowers."""
        return synthetic_source(
            self.name, list(FLOWERS), flower, resize=self.resize, size=self.size, channels=self.channels
        )

    def download_to(self, root: Path) -> None:
        """Download flower_photos."""
        download_archive(self.url, root, self.archive_bytes, sha256=self.sha256)
