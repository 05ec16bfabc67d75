"""Originals and their views."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def views_figure(pictures: Mapping[str, NDArray[np.float32]], *, source: str, synthetic: bool = False) -> Any:
    """Draw rows of pictures: the originals, then each view of them.

    Args:
        pictures: Row title to float [N, C, H, W] in [0, 1]; one column per image.
        source: Name of the data set.
        synthetic: Say so on the figure.

    Returns:
        A matplotlib Figure.
    """
    from matplotlib.figure import Figure

    columns = len(next(iter(pictures.values())))
    figure = Figure(figsize=(1.1 * columns + 1.2, 1.1 * len(pictures) + 0.8), layout="constrained")
    axes = figure.subplots(len(pictures), columns, squeeze=False)
    for row, (title, images) in zip(axes, pictures.items(), strict=True):
        for axis, image in zip(row, images, strict=True):
            axis.imshow(np.moveaxis(image, 0, -1).squeeze(), cmap="grey", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        row[0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=10)
    shown = f"{columns} SYNTHETIC {source} images, drawn by a program" if synthetic else f"{columns} {source} images"
    figure.suptitle(f"What the network is shown: {shown}", fontsize=11)
    return figure
