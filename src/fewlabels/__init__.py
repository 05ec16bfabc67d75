"""Fewlabels: pretrain on unlabelled images, then measure how few labels are enough."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fewlabels.core.checkpoints import load_backbone as load_backbone

__version__ = "0.2.0.dev0"
__all__ = ["__version__", "load_backbone"]


def __getattr__(name: str) -> Any:
    """Import torch only when `load_backbone` is used, so that `--help` and a misspelt key are answered at once."""
    if name == "load_backbone":
        from fewlabels.core.checkpoints import load_backbone

        return load_backbone
    raise AttributeError(f"module 'fewlabels' has no attribute {name!r}")
