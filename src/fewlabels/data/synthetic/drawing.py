"""Drawing tools for synthetic images, and the source that puts them in a store.

Synthetic images replace missing data so that every command can be tried. They are marked "synthetic" in all logs,
figures and reports. They do not depend on the run's seed.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw

from fewlabels.data.image_store.arrays import array_source
from fewlabels.data.image_store.store import Source

VERSION = 1  # part of the store's key: increase it when any pixel changes
PER_CLASS = 150  # images
SIDE = 96  # pixels, before the store resizes the images
TWO_PI = 2 * np.pi
Colour = int | tuple[int, int, int]


class Canvas:
    """Draws on an image in local coordinates of about -1 to 1, which are rotated, scaled, flattened and translated.

    Args:
        image: Image to draw on.
        rng: Source of all random numbers; the first one flattens the y axis by a factor in [0.8, 1).
        angle: Rotation, radians.
        scale: Pixels per unit.
        centre: Position of the origin, pixels.
    """

    def __init__(
        self, image: Image.Image, rng: np.random.Generator, angle: float, scale: float, centre: tuple[float, float]
    ) -> None:
        self.draw, self.rng, self.scale, self.centre = ImageDraw.Draw(image), rng, scale, np.array(centre)
        cos, sin = np.cos(angle), np.sin(angle)
        self.transform = np.array([[cos, sin], [-sin, cos]]) @ np.diag((1.0, rng.uniform(0.8, 1.0)))

    def to_pixels(self, xy: np.ndarray) -> list[tuple[float, float]]:
        """Convert local coordinates [n, 2] to pixels."""
        return [(x, y) for x, y in (xy @ self.transform * self.scale + self.centre).tolist()]

    def line(self, xy: np.ndarray, colour: Colour, width: float) -> None:
        """Draw a line through the points [n, 2]; `width` in local units."""
        self.draw.line(self.to_pixels(xy), fill=colour, width=max(1, round(width * self.scale)), joint="curve")

    def polygon(self, xy: np.ndarray, colour: Colour, outline: Colour | None = None) -> None:
        """Fill the polygon with the corners [n, 2]."""
        self.draw.polygon(self.to_pixels(xy), fill=colour, outline=outline)

    def ellipse(
        self, x: float, y: float, a: float, b: float, colour: Colour, tilt: float = 0.0, outline: Colour | None = None
    ) -> None:
        """Fill the ellipse around (x, y) with half-axes `a` and `b`, the first tilted by `tilt` radians."""
        t = np.linspace(0, TWO_PI, 28)
        u, v = a * np.cos(t), b * np.sin(t)
        xy = np.stack((x + u * np.cos(tilt) - v * np.sin(tilt), y + u * np.sin(tilt) + v * np.cos(tilt)), axis=1)
        self.polygon(xy, colour, outline)


def add_camera_noise(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise and convert to uint8."""
    noisy = pixels + rng.normal(0, rng.uniform(2, 8), pixels.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def synthetic_source(
    name: str,
    classes: Sequence[str],
    draw: Callable[[str, np.random.Generator], np.ndarray],
    *,
    resize: str,
    size: int,
    channels: int,
) -> Source:
    """Describe `PER_CLASS` synthetic images of each class.

    Args:
        name: Name of the dataset that they replace.
        classes: Class names.
        draw: Draws one image of a class, uint8 [H, W] or [H, W, 3].
        resize: "pad", "crop" or "squash".
        size: Side of the square, pixels.
        channels: 1 or 3.
    """
    each = [(label, number) for label in range(len(classes)) for number in range(PER_CLASS)]

    def load() -> tuple[list[str], Iterator[np.ndarray]]:
        images = (draw(classes[label], np.random.default_rng((label, number))) for label, number in each)
        return [f"{classes[label]}/synthetic-{number:04d}" for label, number in each], images

    stamp, name = f"synthetic {VERSION}", f"{name}-synthetic"
    return array_source(name, load, resize=resize, size=size, channels=channels, stamp=stamp, synthetic=True)
