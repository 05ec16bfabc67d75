"""Hydra's errors about a command line, as messages that name the key, what it accepts, and the closest match."""

import ast
import difflib
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from hydra.errors import CompactHydraException, MissingConfigException, OverrideParseException
from hydra.utils import get_object
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fewlabels.cli.resolvers import config_groups
from fewlabels.training.run_dir import unreadable

PACKAGE = Path(__file__).parents[1]
RENAMED = {
    "questions": "analyses", "callbacks.health": "callbacks.representation_quality",
    "callbacks.space": "callbacks.embedding_plots", "callbacks.views": "callbacks.preview_views",
    "callbacks.speed": "callbacks.throughput", "callbacks.spirals": "callbacks.spiral_plots",
    "callbacks.signals": "callbacks.save_on_signal", "method.called": "method.name", "data.called": "data.name",
    "data.kind": "data.modality", "method.accepts": "method.modalities", "data.siamese": "data.epochs",
    "hydra.callbacks.starts": "hydra.callbacks.init_comparison", "hydra.callbacks.sweep": "hydra.callbacks.summary",
}  # fmt: skip
"""Keys of version 0.1, and what they are called now."""
DESCRIPTIVE = ("name", "modality", "modalities", "_", "hydra")
"""How keys begin that nobody is advised to set."""


def explain(error: CompactHydraException, command: str) -> str:
    """Say what is wrong with a command line.

    Args:
        error: As Hydra raised it.
        command: Of the script, such as "evaluate".
    """
    cause = error.__cause__
    if isinstance(error, OverrideParseException):
        return unreadable(error.override, str(cause or error))
    if missing := _missing_choice(error, command):
        return missing
    key, node = getattr(cause, "full_key", None), getattr(cause, "parent_node", None)
    if key and isinstance(node, DictConfig):
        return _unknown_key(str(key), node, command)
    if refused := re.search(r"Could not override '([^']+)", str(error)):
        return _unknown_group(refused[1], command)
    if (deleted := re.search(r"Could not delete from config\. '([^']+)", str(error))) and (new := renamed(deleted[1])):
        return _renaming(deleted[1], new, command)
    details = f"\n{cause}" if isinstance(cause, OmegaConfBaseException) else ""
    return f"{error}{details}"


def _missing_choice(error: CompactHydraException, command: str) -> str | None:
    """A choice that a config group does not have; None for another error."""
    groups = config_groups(command)
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        choices = groups.get(group, list(error.options))
    elif (found := re.search(r"Could not (?:load|find) '(\w+)/(\w+)'", str(error))) and found[1] in groups:
        group, name, choices = found[1], found[2], groups[found[1]]  # of a list, such as analyses=[name]
    else:
        return None
    return f"{group}={name}: there is no such choice.{_closest(name, choices)} Choose from {', '.join(choices)}."


def _unknown_key(key: str, node: DictConfig, command: str) -> str:
    """Name the closest keys of a node, or the new name of a key."""
    parent, _, name = key.rpartition(".")
    if (new := renamed(key)) and (parent or new in node):
        return _renaming(key, new, command)
    prefix = f"{parent}." if parent else ""
    known = sorted(str(k) for k in node if not str(k).startswith(DESCRIPTIVE))
    choice = f"={node.name}" if parent in ("method", "data") and "name" in node else ""
    if _accepts(node.get("_target_"), name):
        return f"{key} has a default that this configuration does not list. To set it write +{key}=… with a plus."
    closest = _closest(name, known, prefix)
    return f"{key}: there is no such key.{closest} {parent or 'The configuration'}{choice} has {', '.join(known)}."


def _unknown_group(key: str, command: str) -> str:
    """A config group that this script does not have."""
    if new := renamed(key):
        return _renaming(key, new, command)
    group, at, _ = key.partition("@")
    if at and group in config_groups(command):
        return f"{key}: a config group has its place. Write {group}=… without @."
    users = [name for name in ("pretrain", "finetune", "evaluate") if group in config_groups(name)]
    elsewhere = f" It is a config group of {' and '.join(users)}." if users else ""
    groups = list(config_groups(command))
    return f"{group}: {command} has no such config group.{elsewhere} {command} has {', '.join(groups) or 'none'}."


def _renaming(key: str, new: str, command: str) -> str:
    choices = config_groups(command).get(new)
    return f"{key} has been renamed: use {new}." + (f" Choose from {', '.join(choices)}." if choices else "")


def renamed(key: str) -> str | None:
    """The present name of a key of version 0.1, or None."""
    for old, new in RENAMED.items():
        if key == old or key.startswith(f"{old}."):
            return new + key.removeprefix(old)
    return None


def _accepts(target: str | None, name: str) -> bool:
    """Whether a node's target has an argument of this name, though the node does not list it."""
    if not target:
        return False
    if target == "lightning.pytorch.Trainer":  # conf/trainer/_lightning.yaml lists all of its arguments
        return False
    if target.startswith("fewlabels."):
        return name in _own_arguments(target)
    try:
        return name in inspect.signature(get_object(target)).parameters
    except (ImportError, ValueError, TypeError):
        return False


def _own_arguments(target: str) -> set[str]:
    """Arguments of a function or class of this package, as its source says: to import it could take seconds."""
    *modules, name = target.split(".")[1:]
    path = PACKAGE.joinpath(*modules)
    for file in path.glob("*.py") if path.is_dir() else [path.with_suffix(".py")]:
        for node in ast.parse(file.read_text()).body if file.is_file() else ():
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
                return set(_arguments(node))
    return set()


def _arguments(node: ast.stmt) -> Iterator[str]:
    """Names of the arguments of a function, of a class's constructor, or of a dataclass."""
    if isinstance(node, ast.FunctionDef):
        yield from (argument.arg for argument in [*node.args.args, *node.args.kwonlyargs])
    for part in node.body if isinstance(node, ast.ClassDef) else ():
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            yield part.target.id
        elif isinstance(part, ast.FunctionDef) and part.name == "__init__":
            yield from _arguments(part)


def _closest(name: str, known: Iterable[str], prefix: str = "") -> str:
    near = difflib.get_close_matches(name, list(known), 3, 0.6)
    return f" Did you mean {' or '.join(prefix + n for n in near)}?" if near else ""
