"""Fewlabels: pretrain on images that nobody has labelled; then find out how few labels you need."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fewlabels.loading import load_backbone as load_backbone

__version__ = "0.1.0"
__all__ = ["__version__", "load_backbone"]


def __getattr__(name: str) -> Any:
    """Import torch only when it is used, so that `--help` and a mistyped key answer at once."""
    if name == "load_backbone":
        from fewlabels.loading import load_backbone

        return load_backbone
    raise AttributeError(f"module 'fewlabels' has no attribute {name!r}")
