"""The plankton of the synthetic set: nine shapes, each with whims of its own."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from fewlabels.data.synthetic import SIDE, TURN, Pen, printed


def _chain(pen: Pen, ink: int) -> None:
    count, bend = pen.rng.integers(4, 9), pen.rng.uniform(-0.4, 0.4)
    for x in np.linspace(-0.9, 0.9, count):
        pen.blob(x, bend * x * x, 0.8 / count, 0.16, ink + 50, rim=ink)


def _disc(pen: Pen, ink: int) -> None:
    pen.blob(0, 0, 0.6, 0.6, ink)
    for _ in range(pen.rng.integers(3, 9)):
        x, y = pen.rng.uniform(-0.35, 0.35, 2)
        pen.blob(x, y, 0.12, 0.1, ink + int(pen.rng.integers(0, 40)))


def _ring(pen: Pen, ink: int) -> None:
    pen.blob(0, 0, 0.85, 0.65, ink + 90, rim=ink)
    pen.blob(0, 0, 0.6, 0.45, 225, rim=ink + 30)
    pen.blob(pen.rng.uniform(-0.1, 0.1), 0, 0.25, 0.2, ink)


def _copepod(pen: Pen, ink: int) -> None:
    pen.blob(-0.1, 0, 0.5, 0.22, ink)
    pen.line(np.array([[0.3, 0], [0.95, pen.rng.uniform(-0.1, 0.1)]]), ink, 0.07)
    for side in (-1, 1):
        sweep = pen.rng.uniform(0.1, 0.6)
        pen.line(
            np.array([[-0.5, side * 0.05], [-0.6 + sweep / 2, side * 0.5], [-0.5 + sweep, side * 0.95]]), ink, 0.03
        )


def _star(pen: Pen, ink: int) -> None:
    count = pen.rng.integers(8, 17)
    for angle in np.arange(count) * TURN / count + pen.rng.uniform(-0.1, 0.1, count):
        tip = np.array([np.cos(angle), np.sin(angle)]) * pen.rng.uniform(0.7, 1.0)
        pen.line(np.stack((np.zeros(2), tip)), ink + 20, 0.03)
    pen.blob(0, 0, 0.14, 0.14, ink)


def _rod(pen: Pen, ink: int) -> None:
    bend = pen.rng.uniform(-0.1, 0.1)
    x = np.linspace(-1, 1, 9)
    pen.line(np.stack((x, bend * x * x), axis=1), ink + 20, pen.rng.uniform(0.04, 0.12))


def _worm(pen: Pen, ink: int) -> None:
    x = np.linspace(-0.9, 0.9, 24)
    wave = pen.rng.uniform(0.15, 0.35) * np.sin(pen.rng.uniform(2.5, 5) * x + pen.rng.uniform(0, TURN))
    pen.line(np.stack((x, wave), axis=1), ink, pen.rng.uniform(0.08, 0.16))
    pen.blob(-0.9, wave[0], 0.16, 0.12, ink)


def _vase(pen: Pen, ink: int) -> None:
    neck, foot = pen.rng.uniform(0.3, 0.45), pen.rng.uniform(0.6, 1.0)
    wall = np.array([[-0.7, neck], [-0.6, neck * 0.8], [0.2, neck * 0.9], [0.5, 0.1], [foot, 0.0]])
    outline = np.concatenate((wall, wall[::-1] * [1, -1]))
    pen.draw.polygon(pen.points(outline), fill=ink + 80, outline=ink)
    pen.blob(0, 0, 0.25, 0.15, ink)


def _tuft(pen: Pen, ink: int) -> None:
    for _ in range(pen.rng.integers(18, 36)):
        angle, reach = pen.rng.normal(0, 0.5), pen.rng.uniform(0.4, 0.9)
        tip = np.array([np.cos(angle), np.sin(angle)]) * reach
        pen.line(np.stack((-tip, tip)) + pen.rng.normal(0, 0.05, 2), ink + 10, 0.04)


ORGANISMS: dict[str, Callable[[Pen, int], None]] = {
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
    """Draw one organism on a pale background, uint8 [H, W]."""
    canvas = Image.new("L", (SIDE, SIDE), int(rng.integers(215, 250)))
    for _ in range(rng.integers(0, 4)):  # specks of detritus
        Pen(canvas, rng, 0, 3, tuple(rng.uniform(0, SIDE, 2))).blob(0, 0, rng.uniform(0.3, 1), 0.6, 150)
    middle = tuple(rng.normal(SIDE / 2, SIDE / 24, 2))
    pen = Pen(canvas, rng, rng.uniform(0, TURN), rng.uniform(0.26, 0.46) * SIDE, middle)
    ORGANISMS[name](pen, int(rng.integers(30, 110)))
    pixels = np.asarray(canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.4))), np.float32)
    slope = np.linspace(-1, 1, SIDE) * rng.uniform(0, 12)
    return printed(pixels + slope, rng)
