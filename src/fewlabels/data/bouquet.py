"""The flowers of the synthetic set."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from fewlabels.data.synthetic import SIDE, TURN, Pen, printed

WHITE, YELLOW, ORANGE = (235, 235, 225), (240, 205, 40), (235, 130, 30)
RED, PINK, PURPLE, BROWN, GREEN = (200, 30, 45), (235, 130, 170), (150, 70, 170), (85, 50, 25), (60, 120, 50)
Colour = tuple[int, int, int]


def _pick(pen: Pen, *colours: Colour) -> Colour:
    """One of `colours`, a little off, so that colour alone does not tell the kind."""
    base = np.array(colours[pen.rng.integers(len(colours))]) + pen.rng.normal(0, 14, 3)
    red, green, blue = base.clip(0, 255).astype(int).tolist()
    return red, green, blue


def _darker(colour: Colour, by: float) -> Colour:
    red, green, blue = (int(value * by) for value in colour)
    return red, green, blue


def _petals(pen: Pen, count: int, reach: float, width: float, colour: Colour, start: float = 0.0) -> None:
    """A wreath of `count` petals, each an ellipse from near the centre out to `reach`."""
    for angle in start + np.arange(count) * TURN / count + pen.rng.normal(0, 0.06, count):
        x, y = np.cos(angle) * reach / 2, np.sin(angle) * reach / 2
        pen.blob(x, y, reach / 2, width, colour, tilt=angle, rim=_darker(colour, pen.rng.uniform(0.65, 0.9)))


def _daisy(pen: Pen) -> None:
    _petals(pen, int(pen.rng.integers(13, 20)), 0.95, 0.09, _pick(pen, WHITE, WHITE, PINK))
    pen.blob(0, 0, 0.24, 0.24, _pick(pen, YELLOW))


def _dandelion(pen: Pen) -> None:
    colour = _pick(pen, YELLOW, YELLOW, WHITE)
    for reach in (0.95, 0.75, 0.5):
        _petals(pen, 30, reach, 0.035, colour, start=reach)


def _rose(pen: Pen) -> None:
    colour = _pick(pen, RED, PINK, WHITE, YELLOW)
    for layer, reach in enumerate((0.95, 0.72, 0.5, 0.3)):
        _petals(pen, 5, reach, reach * 0.42, _darker(colour, 1 - 0.12 * layer), start=layer * 0.6)


def _sunflower(pen: Pen) -> None:
    _petals(pen, int(pen.rng.integers(16, 24)), 1.0, 0.1, _pick(pen, YELLOW, ORANGE))
    pen.blob(0, 0, 0.5, 0.5, _pick(pen, BROWN))
    for x, y in pen.rng.normal(0, 0.18, (12, 2)):
        pen.blob(x, y, 0.05, 0.05, ORANGE)


def _tulip(pen: Pen) -> None:
    """Seen from the side: a cup of three petals."""
    colour = _pick(pen, RED, YELLOW, PINK, PURPLE)
    for x, tilt in ((-0.3, -1.75), (0.3, -1.39), (0.0, -1.57)):
        pen.blob(x, 0, 0.8, 0.34, _darker(colour, 0.85 if x else 1.0), tilt=tilt, rim=_darker(colour, 0.6))


FLOWERS: dict[str, Callable[[Pen], None]] = {
    "daisy": _daisy,
    "dandelion": _dandelion,
    "rose": _rose,
    "sunflower": _sunflower,
    "tulip": _tulip,
}


def _meadow(rng: np.random.Generator) -> Image.Image:
    """Blurred greens, lighter towards the sky."""
    coarse = rng.normal(0, 1, (8, 8, 1)) * (14, 22, 10) + np.array(GREEN) * rng.uniform(0.5, 1.2)
    coarse += np.linspace(rng.uniform(10, 90), -15, 8)[:, None, None] * (0.8, 0.9, 1.1)
    return Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def flower(name: str, rng: np.random.Generator) -> np.ndarray:
    """Draw a flower or a few of one kind in a meadow, uint8 [H, W, 3]."""
    canvas = _meadow(rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        x, y = rng.normal(SIDE / 2, SIDE / 8, 2)
        scale = rng.uniform(0.2, 0.48) * SIDE
        pen = Pen(canvas, rng, rng.normal(0, 0.15), scale, (x, y))
        pen.line(np.array([[0, 0], [rng.uniform(-0.2, 0.2), 5]]), _pick(pen, GREEN), 0.1)  # the stem, downwards
        FLOWERS[name](pen)
    pixels = np.asarray(canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.0))), np.float32)
    return printed(pixels * rng.uniform(0.7, 1.15), rng)
