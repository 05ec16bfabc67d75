"""Plankton: greyscale images in class folders, FlowCAMNet, or synthetic images."""

from pathlib import Path
from typing import Any

from fewlabels.data.base import ImageDataModule
from fewlabels.data.image_store.download import download_archive
from fewlabels.data.image_store.store import Source
from fewlabels.data.synthetic.drawing import synthetic_source
from fewlabels.data.synthetic.synthetic_plankton import ORGANISMS, organism


class Plankton(ImageDataModule):
    """Plankton in one folder per class; some classes are held out from pretraining.

    Args:
        url: FlowCAMNet's archive (https://www.seanoe.org/data/00908/101961), downloaded if `download` allows it.
        archive_bytes: Its length; None: the length that the server states.
        sha256: Its SHA-256; None: it is not checked.
        **settings: As for `ImageDataModule`.
    """

    name = "plankton"
    sources = ("auto", "folder", "synthetic", "download")
    layouts = ("FlowCamNet/imgs", "imgs")

    def __init__(
        self, *, url: str, archive_bytes: int | None = None, sha256: str | None = None, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.url, self.archive_bytes, self.sha256 = url, archive_bytes, sha256

    def make_synthetic(self) -> Source:
        """Synthetic organisms."""
        return synthetic_source(
            self.name, list(ORGANISMS), organism, resize=self.resize, size=self.size, channels=self.channels
        )

    def download_to(self, root: Path) -> None:
        """Download FlowCAMNet."""
        download_archive(self.url, root, self.archive_bytes, sha256=self.sha256)
