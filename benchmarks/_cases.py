"""Draw what a file is, what is done to it, and its name."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from _damage import DAMAGES, NAMES, THINGS
from _deep_files import MAKERS
from _odd_files import SIDE, Odd
from fewlabels.data.synthetic.synthetic_flowers import FLOWERS, flower


class Case(NamedTuple):
    """A file to read.

    Attributes:
        odd: What it was before it was damaged.
        damage: Name of the damage, "" of none; or of the thing that takes the file's place.
        content: Its bytes.
        name: Its file name.
        channels: To read.
        late: Whether the thing takes its place after the folder is listed; of files that are whole, whether all pages
            are read.
    """

    odd: Odd
    damage: str
    content: bytes
    name: bytes
    channels: int
    late: bool


def make_case(seed: int, number: int) -> Case:
    """Draw a case: a third undamaged, a twentieth replaced by something that is no file."""
    draw = np.random.default_rng((seed, number))
    photo = flower(str(draw.choice(list(FLOWERS))), draw)
    rgb = np.asarray(Image.fromarray(photo).convert("RGB").resize((SIDE, SIDE)))
    odd = MAKERS[number % len(MAKERS)](rgb, draw)
    damage, content, chance = "", odd.content, draw.random()
    late = bool(draw.integers(2))
    if chance < 0.05:
        damage = THINGS[draw.integers(len(THINGS))].__name__
    elif chance < 0.65:
        change = DAMAGES[draw.integers(len(DAMAGES))]
        damage, content = change.__name__, change(content, draw)
    stem = NAMES[draw.integers(len(NAMES))] if draw.random() < 0.1 else b"m"
    return Case(
        odd,
        damage,
        content,
        stem[: 254 - len(odd.extension)] + f".{odd.extension}".encode(),
        int(draw.choice([1, 3])),
        late,
    )
