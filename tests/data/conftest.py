"""Small folders of images, and the settings of an image data module."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fewlabels.data.images import Images


@pytest.fixture
def class_folders(tree) -> Callable[..., Path]:
    """Write images in class folders: {"cat": 2} gives cat/0000.png with shade 0 and cat/0001.png with shade 1."""

    def write(counts: dict[str, int], **options: Any) -> Path:
        files = {f"{label}/{number:04d}.png": number % 256 for label, n in counts.items() for number in range(n)}
        return tree(files, **options)

    return write


@pytest.fixture
def image_settings(tmp_path) -> dict[str, Any]:
    """The required settings of an image data module."""
    return {
        "root": None, "source": "auto", "size": 8, "channels": 1, "batch_size": 4, "seed": 0, "val_fraction": 0.2,
        "test_fraction": 0.2, "mean": [0.5], "std": [0.25], "cache_dir": str(tmp_path / "cache"),
    }  # fmt: skip


@pytest.fixture
def make_module(image_settings) -> Callable[..., Any]:
    """Construct a data module and set it up."""

    def make(data_module: type = Images, **options: Any) -> Any:
        module = data_module(**image_settings | options)
        module.prepare_data()
        module.setup()
        return module

    return make


@pytest.fixture
def mixed(make_module, class_folders, tree):
    """Two classes, one of them unseen; a third class that is too small; and five unlabelled images."""
    root = class_folders({"cat": 40, "dog": 30, "eel": 3})
    tree({f"{number}.png": 0 for number in range(5)})
    return make_module(root=str(root), unseen=["dog"], min_class_size=10)


@pytest.fixture
def smooth_image() -> np.ndarray:
    """A smooth random image, uint8 [48, 64, 3], without detail that resizing would lose."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((64, 48), Image.Resampling.BICUBIC))
