"""Check a configuration's values against the annotations of the constructors that receive them, and its targets."""

import inspect
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra.utils import get_object
from lightning.pytorch.loggers import Logger
from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from fewlabels.core.backbones import Backbone
from fewlabels.core.errors import UserError

OWN = ("fewlabels.",)
"""How the targets begin that a checkpoint may name."""
OF_A_RUN = (*OWN, "lightning.pytorch.")
"""Likewise a run's config.yaml, which also names the trainer and its callbacks."""
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


def trusted_config(checkpoint: dict[str, Any], file: Path, trust: Sequence[str]) -> dict[str, Any]:
    """The configuration in a checkpoint, after a check of what building its data and its network would run.

    Raises:
        UserError: See `check_targets`.
    """
    config: dict[str, Any] = checkpoint["fewlabels"]["config"]
    check_targets({name: config.get(name) for name in ("data", "backbone", "method")}, file, trust=trust)
    return config


def check_targets(config: Any, source: Path, *, trust: Sequence[str] = (), prefixes: tuple[str, ...] = OWN) -> None:
    """Refuse to instantiate anything foreign that a file names, since a file may come from anyone.

    Allowed are the classes of this package, and its functions that build a backbone or a logger; likewise what lies in
    the modules of `trust`. A configuration composed from conf/ and the command line is the user's, and not checked.

    Args:
        config: Nested containers, as read from a checkpoint or a config.yaml.
        source: The file, for the message.
        trust: Targets, or modules of targets, that the user trusts.
        prefixes: How trusted targets begin in any case.

    Raises:
        UserError: Names the target, or a value that would be computed when it is read.
    """
    if isinstance(config, str) and "${" in config:  # OmegaConf would resolve it, to any configuration
        raise UserError(f"{source}: the value {config!r} is no setting that this project saves. Give an intact file.")
    if isinstance(config, list):
        config = dict(enumerate(config))
    if not isinstance(config, dict):
        return
    target = config.get("_target_")
    trusted = isinstance(target, str) and any(target == name or target.startswith(f"{name}.") for name in trust)
    if "_target_" in config and not trusted and not (isinstance(target, str) and _is_own(target, prefixes)):
        raise UserError(
            f"{source} names _target_: {target}, which is not part of this project, and it would be run. If you trust "
            f"that code, and Python finds it, add 'trust=[{str(target).partition('.')[0]}]'."
        )
    for value in config.values():
        check_targets(value, source, trust=trust, prefixes=prefixes)


def _is_own(target: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a target is a class, or builds a backbone or a logger, and is defined where its name says."""
    if not target.startswith(prefixes):
        return False
    try:
        found = get_object(target)
    except (ImportError, ValueError, AttributeError):
        return True  # there is nothing to run; instantiating it raises
    defined = str(getattr(found, "__module__", "")).startswith(prefixes)  # not fewlabels.module.os.system
    built = getattr(found, "__annotations__", {}).get("return")
    return defined and (isinstance(found, type) or built in (Backbone, Logger, Logger | None))
