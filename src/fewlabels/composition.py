"""What Hydra says when a command line does not fit the configuration, in plain words, and the choices there are."""

import difflib
import inspect
from collections.abc import Iterable
from pathlib import Path

from hydra.errors import CompactHydraException, MissingConfigException
from hydra.utils import get_object
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

CONF = Path(__file__).parents[2] / "conf"
DESCRIPTION = ("called", "kind", "accepts")
"""Keys that tell the checks what a choice is."""


def groups() -> dict[str, list[str]]:
    """The choices in every config group; files that begin with "_" are parts of others."""
    folders = sorted(folder for folder in CONF.iterdir() if folder.is_dir())
    return {folder.name: sorted(f.stem for f in folder.glob("*.yaml") if f.name[0] != "_") for folder in folders}


def in_plain_words(error: CompactHydraException) -> str:
    """Name the key, what it got and what it could get, and what comes close to it."""
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        choices = groups().get(group, list(error.options))
        return f"{group}={name}: there is no such choice.{_close(name, choices)} Choose from {', '.join(choices)}."
    key, node = getattr(cause, "full_key", None), getattr(cause, "parent_node", None)
    if key and isinstance(node, DictConfig):
        parent, _, name = key.rpartition(".")
        prefix = f"{parent}." if parent else ""
        known = sorted(str(k) for k in node if not str(k).startswith(("_", "hydra", *DESCRIPTION)))
        chosen = f"={node.called}" if "called" in node else ""
        if _takes(node.get("_target_"), name):
            return f"{key} is left at its default in this configuration. To set it write +{key}=… with a plus."
        close = _close(name, known, prefix)
        return f"{key}: there is no such key.{close} {parent or 'The configuration'}{chosen} has {', '.join(known)}."
    details = f"\n{cause}" if isinstance(cause, OmegaConfBaseException) else ""
    return f"{error}{details}"


def _takes(target: str | None, name: str) -> bool:
    """Whether what a node builds has such a setting, though the node does not list it."""
    try:
        return bool(target) and name in inspect.signature(get_object(str(target))).parameters
    except (ImportError, ValueError, TypeError):
        return False


def _close(name: str, known: Iterable[str], prefix: str = "") -> str:
    near = difflib.get_close_matches(name, list(known), 3, 0.6)
    return f" Did you mean {' or '.join(prefix + n for n in near)}?" if near else ""
