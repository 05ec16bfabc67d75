"""Check a configuration's values against the type annotations of the constructors that receive them."""

import inspect
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

from hydra.utils import get_object
from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from fewlabels.core.errors import UserError

EXPECTED = {
    "int": "a whole number", "float": "a number", "string": "text", "bool": "true or false", "dict": "a mapping",
    "is": "a list, [a,b]", "sequence": "a list, [a,b]",
}  # fmt: skip
"""By how the names of pydantic's errors begin."""


def check_types(node: Mapping[str, Any], key: str) -> None:
    """Compare every value of a node with the annotation of its target's argument, nested targets included.

    Only this package's own classes and functions are checked, together with the arguments of their base classes.

    Args:
        node: Has a `_target_`.
        key: The node's place in the configuration, such as "data", for messages.

    Raises:
        UserError: Names the key, its value, and the type that is accepted.
    """
    hints = _hints(node["_target_"]) if str(node.get("_target_", "")).startswith("fewlabels.") else {}
    for name, value in node.items():
        if isinstance(value, Mapping) and "_target_" in value:
            check_types(value, f"{key}.{name}")
        elif name in hints and (adapter := _adapter(hints[name])):
            try:
                adapter.validate_python(value)
            except ValidationError as error:
                raise UserError(
                    f"{key}.{name}={value!r} has the wrong type: give {_accepted(error, adapter)}."
                ) from None


def _accepted(error: ValidationError, adapter: TypeAdapter[Any]) -> str:
    """What would be accepted, in words."""
    found = dict.fromkeys(EXPECTED.get(part["type"].split("_")[0], part["msg"]) for part in error.errors())
    try:
        adapter.validate_python(None)
    except ValidationError:
        return " or ".join(found)
    return " or ".join([*found, "null"])


def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    """A strict validator, or None for a type that pydantic cannot judge, such as a network."""
    try:
        return TypeAdapter(hint, config=ConfigDict(strict=True))
    except PydanticSchemaGenerationError:
        return None


@cache
def _hints(target: str) -> dict[str, Any]:
    built = get_object(target)
    functions = (
        [vars(base).get("__init__") for base in reversed(built.__mro__[:-1])] if inspect.isclass(built) else [built]
    )
    hints: dict[str, Any] = {}
    for function in functions:
        if inspect.isfunction(function) and function.__module__.startswith("fewlabels."):
            hints |= typing.get_type_hints(function)
    return hints
