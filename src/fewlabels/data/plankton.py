"""Plankton: greyscale crops in class folders, FlowCAMNet, or a synthetic stand-in."""

from pathlib import Path
from typing import Any

from fewlabels.data.base import ImageDataModule
from fewlabels.data.download import fetch_archive
from fewlabels.data.organisms import ORGANISMS, organism
from fewlabels.data.store import Source
from fewlabels.data.synthetic import drawn_source


class Plankton(ImageDataModule):
    """A class-per-folder tree of plankton, some classes kept unseen in pretraining.

    Args:
        url: FlowCAMNet's archive (https://www.seanoe.org/data/00908/101961), fetched if `download` says so.
        archive_bytes: Its length, if known; None: what the server announces.
        **settings: As for `ImageDataModule`.
    """

    name = "plankton"
    sources = ("auto", "folder", "synthetic", "download")
    layouts = ("FlowCamNet/imgs", "imgs")

    def __init__(self, *, url: str, archive_bytes: int | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.url, self.archive_bytes = url, archive_bytes

    def draw(self) -> Source:
        """Draw organisms."""
        return drawn_source(
            self.name, list(ORGANISMS), organism, resize=self.resize, size=self.size, channels=self.channels
        )

    def fetch(self, root: Path) -> None:
        """Download FlowCAMNet."""
        fetch_archive(self.url, root, self.archive_bytes)
