"""Synthetic images of five kinds of flowers."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from fewlabels.data.synthetic.drawing import SIDE, TWO_PI, Canvas, add_camera_noise

WHITE, YELLOW, ORANGE = (235, 235, 225), (240, 205, 40), (235, 130, 30)
RED, PINK, PURPLE, BROWN, GREEN = (200, 30, 45), (235, 130, 170), (150, 70, 170), (85, 50, 25), (60, 120, 50)
RGB = tuple[int, int, int]


def _pick(canvas: Canvas, *colours: RGB) -> RGB:
    """Choose one of `colours` and vary it, so that classes cannot be recognised by colour alone."""
    base = np.array(colours[canvas.rng.integers(len(colours))]) + canvas.rng.normal(0, 14, 3)
    red, green, blue = base.clip(0, 255).astype(int).tolist()
    return red, green, blue


def _darker(colour: RGB, factor: float) -> RGB:
    red, green, blue = (int(value * factor) for value in colour)
    return red, green, blue


def _petals(canvas: Canvas, count: int, length: float, width: float, colour: RGB, start: float = 0.0) -> None:
    """Draw `count` petals in a circle, each an ellipse from the centre to radius `length`."""
    for angle in start + np.arange(count) * TWO_PI / count + canvas.rng.normal(0, 0.06, count):
        x, y = np.cos(angle) * length / 2, np.sin(angle) * length / 2
        outline = _darker(colour, canvas.rng.uniform(0.65, 0.9))
        canvas.ellipse(x, y, length / 2, width, colour, tilt=angle, outline=outline)


def _daisy(canvas: Canvas) -> None:
    _petals(canvas, int(canvas.rng.integers(13, 20)), 0.95, 0.09, _pick(canvas, WHITE, WHITE, PINK))
    canvas.ellipse(0, 0, 0.24, 0.24, _pick(canvas, YELLOW))


def _dandelion(canvas: Canvas) -> None:
    colour = _pick(canvas, YELLOW, YELLOW, WHITE)
    for length in (0.95, 0.75, 0.5):
        _petals(canvas, 30, length, 0.035, colour, start=length)


def _rose(canvas: Canvas) -> None:
    colour = _pick(canvas, RED, PINK, WHITE, YELLOW)
    for layer, length in enumerate((0.95, 0.72, 0.5, 0.3)):
        _petals(canvas, 5, length, length * 0.42, _darker(colour, 1 - 0.12 * layer), start=layer * 0.6)


def _sunflower(canvas: Canvas) -> None:
    _petals(canvas, int(canvas.rng.integers(16, 24)), 1.0, 0.1, _pick(canvas, YELLOW, ORANGE))
    canvas.ellipse(0, 0, 0.5, 0.5, _pick(canvas, BROWN))
    for x, y in canvas.rng.normal(0, 0.18, (12, 2)):
        canvas.ellipse(x, y, 0.05, 0.05, ORANGE)


def _tulip(canvas: Canvas) -> None:
    """Draw a tulip from the side: three overlapping petals."""
    colour = _pick(canvas, RED, YELLOW, PINK, PURPLE)
    for x, tilt in ((-0.3, -1.75), (0.3, -1.39), (0.0, -1.57)):
        canvas.ellipse(x, 0, 0.8, 0.34, _darker(colour, 0.85 if x else 1.0), tilt=tilt, outline=_darker(colour, 0.6))


FLOWERS: dict[str, Callable[[Canvas], None]] = {
    "daisy": _daisy,
    "dandelion": _dandelion,
    "rose": _rose,
    "sunflower": _sunflower,
    "tulip": _tulip,
}


def _background(rng: np.random.Generator) -> Image.Image:
    """Draw a background of blurred greens, lighter at the top."""
    coarse = rng.normal(0, 1, (8, 8, 1)) * (14, 22, 10) + np.array(GREEN) * rng.uniform(0.5, 1.2)
    coarse += np.linspace(rng.uniform(10, 90), -15, 8)[:, None, None] * (0.8, 0.9, 1.1)
    return Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def flower(name: str, rng: np.random.Generator) -> np.ndarray:
    """Draw one to three flowers of the class `name`, uint8 [H, W, 3]."""
    image = _background(rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        x, y = rng.normal(SIDE / 2, SIDE / 8, 2)
        scale = rng.uniform(0.2, 0.48) * SIDE
        canvas = Canvas(image, rng, rng.normal(0, 0.15), scale, (x, y))
        canvas.line(np.array([[0, 0], [rng.uniform(-0.2, 0.2), 5]]), _pick(canvas, GREEN), 0.1)  # the stem
        FLOWERS[name](canvas)
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.0))), np.float32)
    return add_camera_noise(pixels * rng.uniform(0.7, 1.15), rng)
