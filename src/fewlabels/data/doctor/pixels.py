"""What pixels tell of a set of images: which are blank, clipped or inverted, and marks that all of them have."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewlabels.data.image_store.depths import eight_bits
from fewlabels.data.image_store.facts import FORMATS

BLANK = 8
"""Difference of the darkest and the brightest pixel; an image with less shows nothing."""
CLIPPED = 0.5
"""Share of black or white pixels, in an image of a set where it is below `USUALLY_CLIPPED`."""
USUALLY_CLIPPED = 0.1
LIGHT, DARK = 170, 85
"""Median of the border of images on a light, or on a dark background."""
PLAIN = 0.9
"""Share of images with such a background; in photographs it is lower."""
RARE = 0.002
"""Share of the images on the other background, below which it is nobody's mistake but a rare image."""
CHUNK = 4096
MAX_CORNER, MIN_CORNER = 256, 24
"""Side of the corners that are compared between images, in pixels: at most half of what nearly all images have."""
SAMPLE = 100
"""Images that are compared for marks, at most; with fewer than `MIN_SAMPLE`, none are looked for."""
MIN_SAMPLE = 20
MARK_PIXELS, MARK_CONTRAST = 12, 40
"""Fewer, or less different from the background, are no mark."""


def pixel_facts(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Of images [N, C, S, S]: contrast, share of black or white pixels, and median of the border, float32 [N, 3]."""
    found = [np.zeros((0, 3), np.float32)]
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK]
        grey = chunk[:, 0].astype(np.float32) if chunk.shape[1] == 1 else chunk.mean(1, dtype=np.float32)
        flat = grey.reshape(len(grey), -1)
        border = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], axis=1)
        clipped = ((flat <= 0.5) | (flat >= 254.5)).mean(1)
        found.append(np.stack([np.ptp(flat, axis=1), clipped, np.median(border, axis=1)], 1).astype(np.float32))
    return np.concatenate(found)


def blank(facts: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rows of images that show nothing."""
    return np.flatnonzero(facts[:, 0] < BLANK)


def clipped(facts: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rows of images that are mostly black or white, in a set where images are not."""
    usual = np.median(facts[:, 1]) if len(facts) else 1.0
    return np.flatnonzero((facts[:, 1] > CLIPPED) & (facts[:, 0] >= BLANK)) if usual < USUALLY_CLIPPED else NONE


def inverted(facts: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rows of images on the rarer background, if some are dark on light and others light on dark."""
    light, dark = np.flatnonzero(facts[:, 2] >= LIGHT), np.flatnonzero(facts[:, 2] <= DARK)
    fewer = min(light, dark, key=len)
    mostly = len(light) + len(dark) > PLAIN * len(facts)  # otherwise they are photographs
    return fewer if mostly and len(fewer) > RARE * len(facts) else NONE


NONE = np.zeros(0, np.int64)


def burned_in_edges(
    root: Path, paths: Sequence[str], sides: NDArray[np.int64], white: float | None = None
) -> tuple[int, int, int, int] | None:
    """Pixels at the edges with a mark that all images have at the same place, such as a scale bar.

    Args:
        root: The folder of images.
        paths: [N] of readable images below it.
        sides: int64 [N], of the shorter side of each, in pixels.
        white: Of images of more than 8 bits, see `Decoding`.

    Returns:
        Top, right, bottom, left: what to cut off, as `data.crop_edges`; None if there is no such mark.
    """
    if len(paths) < MIN_SAMPLE:
        return None
    chosen = np.linspace(0, len(paths) - 1, min(SAMPLE, len(paths))).astype(int)
    sides = sides[chosen]
    side = min(MAX_CORNER, int(np.quantile(sides, 0.05, method="lower")) // 2)  # a few smaller ones are left out
    large = [paths[row] for row, shorter in zip(chosen, sides, strict=True) if shorter >= 2 * side >= 2 * MIN_CORNER]
    corners = [found for path in large if (found := _corners(root / path, side, white)) is not None]
    if len(corners) < MIN_SAMPLE:
        return None
    stacked = np.stack(corners).astype(np.float32)
    edges = [0, 0, 0, 0]
    for number, patch in enumerate(stacked.transpose(1, 0, 2, 3)):
        if mark := _mark(patch):
            place, depth = _nearest_edge(number, mark, side)
            edges[place] = max(edges[place], depth)
    return (edges[0], edges[1], edges[2], edges[3]) if any(edges) else None


def _mark(patch: NDArray[np.float32]) -> tuple[int, int, int, int] | None:
    """Where corners [n, side, side] have a mark: first and last row and column."""
    constant = patch.std(0) < 2
    if not constant.any():
        return None
    values = np.rint(patch.mean(0)).astype(int)
    background = np.bincount(values[constant].clip(0, 255)).argmax()
    mark = constant & (np.abs(values - background) > MARK_CONTRAST)
    if mark.sum() < MARK_PIXELS:
        return None
    rows, columns = np.flatnonzero(mark.any(1)), np.flatnonzero(mark.any(0))
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def _nearest_edge(number: int, mark: tuple[int, int, int, int], side: int) -> tuple[int, int]:
    """The edge to cut, and how much: that of a corner (numbered as by `_corners`) at which less is lost."""
    top, bottom, left, right = mark
    vertical = (0, bottom + 1) if number < 2 else (2, side - top)
    horizontal = (3, right + 1) if number % 2 == 0 else (1, side - left)
    return min(vertical, horizontal, key=lambda edge: edge[1])


def _corners(file: Path, side: int, white: float | None) -> NDArray[np.uint8] | None:
    """Top left, top right, bottom left and bottom right, uint8 [4, side, side]; None of an unreadable image."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            grey = np.asarray(eight_bits(image, white).convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return np.stack([grey[:side, :side], grey[:side, -side:], grey[-side:, :side], grey[-side:, -side:]])
