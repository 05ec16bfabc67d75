"""Synthetic images of plankton: nine shapes with random variation."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from fewlabels.data.synthetic.drawing import SIDE, TWO_PI, Canvas, add_camera_noise


def _chain(canvas: Canvas, shade: int) -> None:
    count, bend = canvas.rng.integers(4, 9), canvas.rng.uniform(-0.4, 0.4)
    for x in np.linspace(-0.9, 0.9, count):
        canvas.ellipse(x, bend * x * x, 0.8 / count, 0.16, shade + 50, outline=shade)


def _disc(canvas: Canvas, shade: int) -> None:
    canvas.ellipse(0, 0, 0.6, 0.6, shade)
    for _ in range(canvas.rng.integers(3, 9)):
        x, y = canvas.rng.uniform(-0.35, 0.35, 2)
        canvas.ellipse(x, y, 0.12, 0.1, shade + int(canvas.rng.integers(0, 40)))


def _ring(canvas: Canvas, shade: int) -> None:
    canvas.ellipse(0, 0, 0.85, 0.65, shade + 90, outline=shade)
    canvas.ellipse(0, 0, 0.6, 0.45, 225, outline=shade + 30)
    canvas.ellipse(canvas.rng.uniform(-0.1, 0.1), 0, 0.25, 0.2, shade)


def _copepod(canvas: Canvas, shade: int) -> None:
    canvas.ellipse(-0.1, 0, 0.5, 0.22, shade)
    canvas.line(np.array([[0.3, 0], [0.95, canvas.rng.uniform(-0.1, 0.1)]]), shade, 0.07)
    for side in (-1, 1):
        sweep = canvas.rng.uniform(0.1, 0.6)
        canvas.line(
            np.array([[-0.5, side * 0.05], [-0.6 + sweep / 2, side * 0.5], [-0.5 + sweep, side * 0.95]]), shade, 0.03
        )


def _star(canvas: Canvas, shade: int) -> None:
    count = canvas.rng.integers(8, 17)
    for angle in np.arange(count) * TWO_PI / count + canvas.rng.uniform(-0.1, 0.1, count):
        tip = np.array([np.cos(angle), np.sin(angle)]) * canvas.rng.uniform(0.7, 1.0)
        canvas.line(np.stack((np.zeros(2), tip)), shade + 20, 0.03)
    canvas.ellipse(0, 0, 0.14, 0.14, shade)


def _rod(canvas: Canvas, shade: int) -> None:
    bend = canvas.rng.uniform(-0.1, 0.1)
    x = np.linspace(-1, 1, 9)
    canvas.line(np.stack((x, bend * x * x), axis=1), shade + 20, canvas.rng.uniform(0.04, 0.12))


def _worm(canvas: Canvas, shade: int) -> None:
    x = np.linspace(-0.9, 0.9, 24)
    wave = canvas.rng.uniform(0.15, 0.35) * np.sin(canvas.rng.uniform(2.5, 5) * x + canvas.rng.uniform(0, TWO_PI))
    canvas.line(np.stack((x, wave), axis=1), shade, canvas.rng.uniform(0.08, 0.16))
    canvas.ellipse(-0.9, wave[0], 0.16, 0.12, shade)


def _vase(canvas: Canvas, shade: int) -> None:
    neck, foot = canvas.rng.uniform(0.3, 0.45), canvas.rng.uniform(0.6, 1.0)
    wall = np.array([[-0.7, neck], [-0.6, neck * 0.8], [0.2, neck * 0.9], [0.5, 0.1], [foot, 0.0]])
    outline = np.concatenate((wall, wall[::-1] * [1, -1]))
    canvas.polygon(outline, shade + 80, outline=shade)
    canvas.ellipse(0, 0, 0.25, 0.15, shade)


def _tuft(canvas: Canvas, shade: int) -> None:
    for _ in range(canvas.rng.integers(18, 36)):
        angle, length = canvas.rng.normal(0, 0.5), canvas.rng.uniform(0.4, 0.9)
        tip = np.array([np.cos(angle), np.sin(angle)]) * length
        canvas.line(np.stack((-tip, tip)) + canvas.rng.normal(0, 0.05, 2), shade + 10, 0.04)


ORGANISMS: dict[str, Callable[[Canvas, int], None]] = {
    "chain": _chain,
    "copepod": _copepod,
    "disc": _disc,
    "ring": _ring,
    "rod": _rod,
    "star": _star,
    "tuft": _tuft,
    "vase": _vase,
    "worm": _worm,
}


def organism(name: str, rng: np.random.Generator) -> np.ndarray:
    """Draw one organism of the class `name` on a light background, uint8 [H, W]."""
    image = Image.new("L", (SIDE, SIDE), int(rng.integers(215, 250)))
    for _ in range(rng.integers(0, 4)):  # detritus
        Canvas(image, rng, 0, 3, tuple(rng.uniform(0, SIDE, 2))).ellipse(0, 0, rng.uniform(0.3, 1), 0.6, 150)
    centre = tuple(rng.normal(SIDE / 2, SIDE / 24, 2))
    canvas = Canvas(image, rng, rng.uniform(0, TWO_PI), rng.uniform(0.26, 0.46) * SIDE, centre)
    ORGANISMS[name](canvas, int(rng.integers(30, 110)))
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.4))), np.float32)
    gradient = np.linspace(-1, 1, SIDE) * rng.uniform(0, 12)
    return add_camera_noise(pixels + gradient, rng)
