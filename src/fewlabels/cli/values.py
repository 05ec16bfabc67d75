"""Paths and class names of the command line, written so that Hydra reads them as they were typed.

Hydra's grammar (https://hydra.cc/docs/advanced/override_grammar/basic) refuses `Données`, `My Photos (2021)` and `a=b`,
and reads `1_2` as the number 12, `2019_05` as 201905 and `null` as nothing. What is a path or the name of a class is
put in quotes here if Hydra would read anything else than the text. `null` in the place of a path stays null. What the
user quoted for Hydra, `'…'` or `"…"`, and interpolations, `${…}`, stay as they are.
"""

import os
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from fewlabels.training.run_dir import as_text

PATHS = frozenset({
    "data.root", "data.labels", "data.cache_dir", "cache_dir", "labelled.root", "labelled.labels", "labels",
    "checkpoint", "run", "resume", "export", "to", "trust", "clean", "hydra.run.dir", "hydra.sweep.dir",
    "backbone.weights",
})  # fmt: skip
"""Keys whose values are paths, or keys of stores, such as 1e200300; `~/` is the home folder."""
LISTS = frozenset({"run", "export", "trust", "clean"})
"""Those that take several, [a,b]."""
NOT_SWEPT = frozenset({"hydra.run.dir", "hydra.sweep.dir", "resume"})
"""Those in which a comma never separates the values of a sweep."""
CLASS_NAMES = frozenset({"data.seen", "data.unseen", "data.unlabelled"})
"""Keys whose lists are names of classes."""
SWEEPS = ("choice(", "glob(", "shuffle(", "sort(", "range(", "interval(", "tag(")
"""How Hydra's functions begin, which stand for the values of a sweep."""


def for_hydra(argument: str, *, sweeps: bool) -> str:
    """Write `key=value` so that Hydra reads paths and class names as they were typed, and `run=A,B` as a list.

    Args:
        argument: As typed, with any key.
        sweeps: Whether the command line is that of a sweep, in which a comma separates values.
    """
    key, _, value = argument.partition("=")
    name = key.lstrip("+")
    if name in CLASS_NAMES:
        parts = [_texts(part, null=False) if _is_list(part) else part for part in elements(value)]
    elif name not in PATHS or (sweeps and value.startswith(SWEEPS)):
        return argument
    else:
        parts = [_texts(part) if name in LISTS and _is_list(part) and not _exists(part) else _text(part)
                 for part in path_elements(name, value, sweeps=sweeps)]  # fmt: skip
    several = ",".join(parts)
    return f"{key}=[{several}]" if name == "run" and len(parts) > 1 and not sweeps else f"{key}={several}"


def path_elements(name: str, value: str, *, sweeps: bool = False) -> list[str]:
    """The values that commas separate: a single one if the whole is an existing path, or if the key takes only one.

    Args:
        name: One of `PATHS`.
        value: As typed.
        sweeps: See `for_hydra`.
    """
    separates = name == "run" or (sweeps and name not in NOT_SWEPT)
    if not separates or "," not in value or _exists(value):
        return [value]
    return [part.strip() for part in elements(value, brackets=name in LISTS)]


def elements(value: str, *, brackets: bool = True) -> list[str]:
    """Split at the commas that are outside of quotes and brackets, both of which count only where an element begins.

    Args:
        value: Such as "[a,b],'c,d',e", which has three elements.
        brackets: Whether an element may be a list; else [ and ] are text.
    """
    parts, depth, quote, begins = [""], 0, "", True
    for position, character in enumerate(value):
        fresh, begins = begins, begins and character == " "
        if quote:
            escapes = len(value[:position]) - len(value[:position].rstrip("\\"))
            quote = "" if character == quote and escapes % 2 == 0 else quote
        elif character == "," and not depth:
            parts, begins = [*parts, ""], True
            continue
        elif fresh and character in "'\"":
            quote = character
        elif character == "[" and brackets and (fresh or depth):
            depth, begins = depth + 1, True
        elif character == "]" and depth:
            depth -= 1
        elif character == ",":
            begins = True
        parts[-1] += character
    return value.split(",") if quote or depth else parts


def flat_names(value: str) -> list[str]:
    """The texts in a value, those of lists in it one by one, without quotes: of run=A,B, [A,B] and [[A,B],[C]]."""
    if _exists(value):
        return [_at_home(value)]
    parts = [part.strip() for part in elements(value)]
    return [name for part in parts for name in (flat_names(part[1:-1]) if _is_list(part) else [unquoted(part)])]


def unquoted(text: str) -> str:
    """A path without the quotes that Hydra would remove, and with the home folder in the place of `~`."""
    read = _as_hydra(text) if text[:1] in ("'", '"') else None
    return _at_home(text) if read is None else str(read)


def _texts(part: str, *, null: bool = True) -> str:
    """A list of texts, or a text; see `_text`."""
    if not _is_list(part):
        return _text(part, null=null)
    return f"[{','.join(_texts(inner.strip(), null=null) for inner in elements(part.strip()[1:-1]))}]"


def _text(text: str, *, null: bool = True) -> str:
    """A text as Hydra reads it; unchanged if Hydra reads it as typed, or if it is quoted.

    Args:
        text: As typed.
        null: Whether `null` is Hydra's null, and a leading `~/` the home folder.
    """
    if not text or (null and text == "null"):
        return text
    read, text = _as_hydra(text), _at_home(text) if null else text
    quoted = text[0] in "'\"" and isinstance(read, str)
    plain = isinstance(read, str) and read == text and "\\" not in text  # a backslash would escape what follows
    return text if quoted or plain else as_text(text)


def _as_hydra(text: str) -> object:
    """What Hydra reads; None for null, and for a text that it refuses or would sweep over."""
    try:
        override = OverridesParser.create().parse_override(f"key={text}")
    except HydraException:
        return None
    return None if override.is_sweep_override() else override.value()


def _is_list(part: str) -> bool:
    return part.strip()[:1] == "[" and part.strip()[-1:] == "]"


def _at_home(path: str) -> str:
    """A path with the home folder in the place of `~`; another user's is left to the shell."""
    return str(Path.home()) + path[1:] if path == "~" or path.startswith("~/") else path


def _exists(path: str) -> bool:
    return os.path.exists(_at_home(path))  # noqa: PTH110 - Path.exists raises where a name is too long
