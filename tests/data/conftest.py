"""Small folders of images, and a data module's settings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def tree(tmp_path) -> Callable[..., Path]:
    """Write greyscale images of one shade each, {"class/name.png": shade}, or n of them per class."""

    def write(files: dict[str, int], root: str = "images", side: int = 8) -> Path:
        folder = tmp_path / root
        for name, shade in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (side, side), shade).save(folder / name)
        return folder

    return write


@pytest.fixture
def settings(tmp_path) -> dict[str, Any]:
    """What every image data module needs to be told."""
    return {
        "root": None, "source": "auto", "size": 8, "channels": 1, "batch_size": 4, "seed": 0, "val_fraction": 0.2,
        "test_fraction": 0.2, "mean": [0.5], "std": [0.25], "cache_dir": str(tmp_path / "cache"),
    }  # fmt: skip


def names(counts: dict[str, int]) -> dict[str, int]:
    """{"cat": 2} -> {"cat/0000.png": 0, "cat/0001.png": 1}."""
    return {f"{label}/{number:04d}.png": number % 256 for label, count in counts.items() for number in range(count)}


@pytest.fixture
def classes(tree) -> Callable[..., Path]:
    """Write so many images per class."""
    return lambda counts, **options: tree(names(counts), **options)


@pytest.fixture
def noise() -> np.ndarray:
    """A smooth random picture, uint8 [48, 64, 3], without detail that resizing would lose."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((64, 48), Image.Resampling.BICUBIC))
