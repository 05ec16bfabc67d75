"""Flowers: colour photographs of five classes, or a synthetic stand-in."""

from pathlib import Path
from typing import Any

from fewlabels.data.base import ImageDataModule
from fewlabels.data.bouquet import FLOWERS, flower
from fewlabels.data.download import fetch_archive
from fewlabels.data.store import Source
from fewlabels.data.synthetic import drawn_source


class Flowers(ImageDataModule):
    """Class folders in the layout of Kaggle's Flowers Recognition, or TensorFlow's flower_photos.

    Args:
        url: The archive of flower_photos, fetched if `download` says so.
        archive_bytes: Its length, if known; None: what the server announces.
        **settings: As for `ImageDataModule`.
    """

    name = "flowers"
    sources = ("auto", "folder", "synthetic", "download")
    layouts = ("flower_photos", "flowers")

    def __init__(self, *, url: str, archive_bytes: int | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.url, self.archive_bytes = url, archive_bytes

    def draw(self) -> Source:
        """Draw flowers."""
        return drawn_source(
            self.name, list(FLOWERS), flower, resize=self.resize, size=self.size, channels=self.channels
        )

    def fetch(self, root: Path) -> None:
        """Download flower_photos."""
        fetch_archive(self.url, root, self.archive_bytes)
