"""Sources whose images are arrays in memory rather than image files."""

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from fewlabels.core.errors import UserError
from fewlabels.data.image_store.decode import VERSION, Target, content_digest
from fewlabels.data.image_store.pixels import resize_into
from fewlabels.data.image_store.progress import Advance
from fewlabels.data.image_store.store import Source, Store, Write, Written

Load = Callable[[], tuple[list[str], Iterable[np.ndarray]]]
_CHUNK = 256  # images per write


class _ImageSettings(Protocol):
    name: str
    resize: str
    size: int
    channels: int


def array_source(
    name: str, load: Load, *, resize: str, size: int, channels: int, stamp: str, synthetic: bool = False
) -> Source:
    """Describe images that `load` returns; it is called only if their store must be built.

    Args:
        name: Name of the dataset.
        load: Returns the [N] paths and, in the same order, N images: uint8 [H, W] or [H, W, 3].
        resize: "pad", "crop" or "squash"; see `decode.Decoding`.
        size: Side of the square, pixels.
        channels: 1 or 3.
        stamp: Must change whenever `load` would return different images.
        synthetic: Whether the images are synthetic.

    Raises:
        UserError: Another number of channels.
    """
    if channels not in (1, 3):
        raise UserError(
            f"data.channels={channels}: {name} are grey or colours; give 1 or 3. Other numbers are for .npy files."
        )

    def read() -> tuple[list[str], Write]:
        paths, images = load()

        def write(target: Target, advance: Advance, earlier: Store | None = None) -> Written:  # noqa: ARG001
            stream, digests = iter(images), np.zeros(len(paths), np.int64)
            for start in range(0, len(paths), _CHUNK):
                chunk = list(islice(stream, _CHUNK))
                out = np.empty((len(chunk), *target.shape), np.uint8)
                for row, image in enumerate(chunk):
                    resize_into(Image.fromarray(image), out[row], resize)
                    digests[start + row] = content_digest(np.ascontiguousarray(image).data.cast("B"))
                target.put(start, out)
                advance(len(chunk))
            return Written(digests, {})

        return paths, write

    return Source(name, (channels, size, size), f"{VERSION} {resize} {stamp}", read, where=name, synthetic=synthetic)


def official_source(module: _ImageSettings, load: Load) -> Source:
    """Describe a published dataset that never changes, with the image settings of its data module."""
    return array_source(
        module.name, load, stamp="official", resize=module.resize, size=module.size, channels=module.channels
    )


def torchvision_set(dataset: Callable[..., Any], name: str, root: Path, *, download: bool, **split: Any) -> Any:
    """Open one of torchvision's datasets, which verify the md5 of their files.

    Args:
        dataset: The class, such as `torchvision.datasets.CIFAR10`.
        name: Name of the dataset, for messages.
        root: Folder of its files.
        download: Whether to download missing files.
        **split: The argument of `dataset` that selects the split, such as `train=True`.

    Raises:
        UserError: The files are missing or damaged, or cannot be downloaded.
    """
    try:
        return dataset(root=str(root), download=download, **split)
    except (RuntimeError, OSError) as error:
        remedy = "Check the network and try again" if download else "Give data.download=true to download it"
        raise UserError(
            f"data={name}: no complete copy in data.root={root} ({error}). {remedy}, or give the data.root that has it."
        ) from error
