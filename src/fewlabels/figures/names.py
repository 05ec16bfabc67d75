"""Names as figures show them: in one line, in glyphs that a font has, short, and different where the names differ."""

import functools
import itertools
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that change the direction of the text that follows them."""
PARTIAL = ("Last Resort", "STIX", "cm", "DejaVu")
"""Fonts that are no replacement: boxes for every character, mathematics, and relatives of the default font."""
HAIR_SPACE = "\u200a"
"""Before a leading underscore, since matplotlib leaves labels that begin with one out of legends."""


def shown_names(figure: "Figure", names: Sequence[str], length: int | None = None) -> list[str]:
    """Names as a figure shows them, different where the names differ.

    A name without glyphs becomes a number, "[1]", which the caption and the report explain. Names that are equal once
    shortened keep their underscores and more letters, and, if that is not enough, get a number: "fish larv. (2)".

    Args:
        figure: Where they are shown; remembers the numbers, see `name_key`.
        names: May repeat.
        length: At most this many characters, see `shortened`; None keeps the names as long as they are.
    """
    forms = {name: _forms(figure, name, names, length) for name in dict.fromkeys(names)}
    shared = Counter(short for short, _ in forms.values())
    wanted = {name: long if shared[short] > 1 else short for name, (short, long) in forms.items()}
    shared = Counter(wanted.values())
    used = {text for text in wanted.values() if shared[text] == 1}
    shown = {}
    for name, text in wanted.items():
        shown[name] = text if shared[text] == 1 else next(t for t in _numbered(text, length) if t not in used)
        used.add(shown[name])
    return [shown[name] for name in names]


def _forms(figure: "Figure", name: str, names: Sequence[str], length: int | None) -> tuple[str, str]:
    """What may be shown of a name: as short as possible, and closer to the original."""
    text, key = one_line(name), name_key(figure)
    if not text or not all(map(font_with, text)):
        free = (f"[{k}]" for k in itertools.count(1) if f"[{k}]" not in names and f"[{k}]" not in key.values())
        number = key.get(name) or key.setdefault(name, next(free))
        return number, number
    short = text if length is None else shortened(text, length)
    text = HAIR_SPACE + text if text.startswith("_") else text
    return (text, text) if length is None else (short, _cut(text, length))


def _numbered(text: str, length: int | None) -> "itertools.chain[str]":
    """A name, and the name with the numbers from 2 on."""
    marks = (f" ({number})" for number in itertools.count(2))
    return itertools.chain([text], ((text if length is None else _cut(text, length - len(m))) + m for m in marks))


def name_key(figure: "Figure") -> dict[str, str]:
    """Names without glyphs to the numbers that a figure shows instead."""
    key: dict[str, str] = vars(figure).setdefault("fewlabels_name_key", {})
    return key


def shortened(name: str, length: int) -> str:
    """Shorten a name to at most `length` characters: abbreviate words from the first, then cut in the middle.

    Underscores become spaces.
    """
    words = name.replace("_", " ").split() or [HAIR_SPACE + name]  # of underscores alone
    for number in range(len(words) - 1):
        if len(" ".join(words)) > length:
            words[number] = f"{words[number][:4]}." if len(words[number]) > 5 else words[number]
    return _cut(" ".join(words), length)


def _cut(text: str, length: int) -> str:
    end = length // 3
    return text if len(text) <= length else f"{text[: length - end - 1].rstrip()}…{text[len(text) - end :].lstrip()}"


def one_line(name: str) -> str:
    """A name without line breaks, control characters and marks that turn the direction of what follows."""
    name = name.encode(errors="replace").decode()  # file names need not be UTF-8
    controls = [c in TURNING or unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in name]
    return " ".join("".join(" " if control else c for c, control in zip(name, controls, strict=True)).split())


@functools.cache
def font_with(character: str) -> str:
    """A font that has a character: "default", the name of another installed one, or "" if there is none.

    Before matplotlib 3.11, none writes from right to left: the letters would be in reverse.
    """
    from matplotlib import font_manager, ft2font

    shapes = hasattr(ft2font, "__libraqm_version__")
    if not shapes and unicodedata.bidirectional(character) in ("R", "AL"):
        return ""
    default = font_manager.findfont(font_manager.FontProperties())
    if character.isspace() or ord(character) in _characters(default):
        return "default"
    fonts = {font.fname: font.name for font in font_manager.fontManager.ttflist if not font.name.startswith(PARTIAL)}
    return next((name for file, name in fonts.items() if ord(character) in _characters(file)), "")


@functools.cache
def _characters(font: str) -> frozenset[int]:
    """The code points that a font file has glyphs for."""
    from matplotlib.font_manager import get_font

    return frozenset(get_font(font).get_charmap())
