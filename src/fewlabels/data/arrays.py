"""A source whose images come out of memory, and not from files of their own."""

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fewlabels.data.decode import VERSION, Target, place
from fewlabels.data.progress import Advance
from fewlabels.data.store import Source, Write
from fewlabels.errors import UserError

Load = Callable[[], tuple[list[str], Iterable[np.ndarray]]]
_CHUNK = 256


def array_source(
    name: str, load: Load, *, resize: str, size: int, channels: int, stamp: str, synthetic: bool = False
) -> Source:
    """Describe images that `load` will hand over when, and only when, their store must be built.

    Args:
        name: Of the set.
        load: Returns the [N] paths and, in their order, N images: uint8 [H, W] or [H, W, 3].
        resize: "pad", "crop" or "squash".
        size: Side of the square, pixels.
        channels: 1 or 3.
        stamp: Differs whenever `load` would hand over anything else.
        synthetic: Whether the images are drawn by the program.
    """

    def read() -> tuple[list[str], Write]:
        paths, images = load()

        def write(target: Target, advance: Advance) -> dict[int, str]:
            stream = iter(images)
            for start in range(0, len(paths), _CHUNK):
                chunk = list(islice(stream, _CHUNK))
                out = np.empty((len(chunk), *target.shape), np.uint8)
                for row, image in enumerate(chunk):
                    place(Image.fromarray(image), out[row], resize)
                target.put(start, out)
                advance(len(chunk))
            return {}

        return paths, write

    return Source(name, (channels, size, size), f"{VERSION} {resize} {stamp}", read, where=name, synthetic=synthetic)


def official_source(module: Any, load: Load) -> Source:
    """Describe a set that is the same wherever it comes from, resized as its data module says."""
    how = {"resize": module.resize, "size": module.size, "channels": module.channels}
    return array_source(module.name, load, stamp="official", **how)


def torchvision_set(make: Callable[..., Any], name: str, root: Path, *, download: bool, **which: Any) -> Any:
    """Open one of torchvision's sets, which check their files' md5.

    Args:
        make: The class, such as `torchvision.datasets.CIFAR10`.
        name: Of the set, for messages.
        root: Where its files are or go.
        download: Whether to fetch them if they are not there.
        **which: The split, in the class's own words.

    Raises:
        UserError: the files are missing or damaged, or cannot be fetched.
    """
    try:
        return make(root=str(root), download=download, **which)
    except (RuntimeError, OSError) as error:
        remedy = "Is there a network? Try again" if download else "Give data.download=true to fetch it"
        raise UserError(
            f"data={name}: no whole copy in data.root={root} ({error}). {remedy}, or give the data.root that has it."
        ) from error
