"""Drawn stand-ins for plankton and flowers, so that everything runs where there are no images.

They are no data: whoever uses them says "synthetic" in every log, figure and report. The drawings are always the
same, whatever the run's seed, as a folder of images would be.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw

from fewlabels.data.arrays import array_source
from fewlabels.data.store import Source

VERSION = 1  # raise it when a single pixel changes
PER_CLASS = 150
SIDE = 96  # of the canvas, pixels; the store resizes it as it would a photograph
TURN = 2 * np.pi
Ink = int | tuple[int, int, int]


class Pen:
    """Draws in a frame of its own, about -1 to 1, that is turned, scaled, flattened and moved on the canvas.

    Args:
        canvas: What to draw on.
        rng: Where every whim comes from.
        angle: Turn of the frame, radians.
        scale: Pixels per unit.
        centre: Of the frame, pixels.
    """

    def __init__(
        self, canvas: Image.Image, rng: np.random.Generator, angle: float, scale: float, centre: tuple[float, float]
    ) -> None:
        self.draw, self.rng, self.scale, self.centre = ImageDraw.Draw(canvas), rng, scale, np.array(centre)
        cos, sin = np.cos(angle), np.sin(angle)
        self.turn = np.array([[cos, sin], [-sin, cos]]) @ np.diag((1.0, rng.uniform(0.8, 1.0)))

    def points(self, xy: np.ndarray) -> list[tuple[float, float]]:
        """[n, 2] points of the frame as pixels."""
        return [(x, y) for x, y in (xy @ self.turn * self.scale + self.centre).tolist()]

    def line(self, xy: np.ndarray, ink: Ink, width: float) -> None:
        """Draw a line through [n, 2] points; `width` in units of the frame."""
        self.draw.line(self.points(xy), fill=ink, width=max(1, round(width * self.scale)), joint="curve")

    def blob(self, x: float, y: float, a: float, b: float, ink: Ink, tilt: float = 0.0, rim: Ink | None = None) -> None:
        """Fill an ellipse with half-axes `a` and `b`, the first tilted by `tilt` radians."""
        t = np.linspace(0, TURN, 28)
        u, v = a * np.cos(t), b * np.sin(t)
        xy = np.stack((x + u * np.cos(tilt) - v * np.sin(tilt), y + u * np.sin(tilt) + v * np.cos(tilt)), axis=1)
        self.draw.polygon(self.points(xy), fill=ink, outline=rim)


def printed(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add the camera's noise and round to uint8."""
    noisy = pixels + rng.normal(0, rng.uniform(2, 8), pixels.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def drawn_source(
    name: str,
    classes: Sequence[str],
    draw: Callable[[str, np.random.Generator], np.ndarray],
    *,
    resize: str,
    size: int,
    channels: int,
) -> Source:
    """Describe `PER_CLASS` drawings of each class.

    Args:
        name: Of the set that they stand in for.
        classes: Their names.
        draw: Draws one: uint8 [H, W] or [H, W, 3].
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
