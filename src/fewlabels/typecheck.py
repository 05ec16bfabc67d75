"""Check a configuration's values against the annotations of what they are given to."""

import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.utils import get_object

from fewlabels.errors import UserError


def check_types(node: Mapping[str, Any]) -> None:
    """Compare every value of a node with the annotation of its target's argument, nested targets included.

    Only this project's own classes and functions are checked; arguments that go on to a base class are found there.

    Raises:
        UserError: Naming the key, what it got and what it takes.
    """
    hints = _hints(node["_target_"]) if str(node.get("_target_", "")).startswith("fewlabels.") else {}
    for key, value in node.items():
        if isinstance(value, Mapping) and "_target_" in value:
            check_types(value)
        elif key in hints and not _fits(value, hints[key]):
            raise UserError(f"{_group(node)}.{key}={value!r} is of the wrong kind: give {_in_words(hints[key])}.")


def _group(node: Mapping[str, Any]) -> str:
    """What the command line calls a node, as far as its target tells."""
    names = {"data": "data", "methods": "method", "backbones": "backbone", "callbacks": "callbacks"}
    part = node["_target_"].split(".")[1]
    return names.get(part, {"optim": "method.optimizer", "loggers": "logger", "views": "data.views"}.get(part, part))


def _hints(target: str) -> dict[str, Any]:
    made = get_object(target)
    functions = (
        [vars(base).get("__init__") for base in reversed(made.__mro__[:-1])] if inspect.isclass(made) else [made]
    )
    hints: dict[str, Any] = {}
    for function in functions:
        if inspect.isfunction(function) and function.__module__.startswith("fewlabels."):
            hints |= typing.get_type_hints(function)
    return hints


def _in_words(hint: Any) -> str:
    """An annotation as a person would say it."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_in_words(part) for part in inner)
    if origin is not None and inspect.isclass(origin) and issubclass(origin, Sequence):
        kinds = {float: "numbers", int: "whole numbers", str: "names"}
        return f"a list of {kinds.get(inner[0], 'values')}, [a,b]"
    words: dict[Any, str] = {
        float: "a number",
        int: "a whole number",
        str: "a text",
        bool: "true or false",
        types.NoneType: "null",
    }
    return words.get(hint, str(getattr(hint, "__name__", hint)))


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in inner)
    if origin is not None and inspect.isclass(origin) and issubclass(origin, Sequence):
        return isinstance(value, list | tuple) and all(_fits(part, inner[0]) for part in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint) if hint in (str, bool, types.NoneType) else True
