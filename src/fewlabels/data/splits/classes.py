"""Seen and unseen classes, and the labels of each."""

import difflib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewlabels.core.errors import UserError
from fewlabels.data.splits.assignment import uniform

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Classes:
    """The classes of a dataset.

    Attributes:
        seen: Classes to pretrain on, sorted.
        unseen: Classes held out from pretraining.
        excluded: Classes in no split: too small, or not named in `seen`.
    """

    seen: list[str]
    unseen: list[str]
    excluded: list[str]


def choose_classes(
    sizes: dict[str, int],
    seen: Sequence[str] | None,
    unseen: int | Sequence[str] | None,
    *,
    min_class_size: int,
    seed: int,
) -> Classes:
    """Choose the seen, unseen and excluded classes.

    Args:
        sizes: {class name: number of images}.
        seen: The only classes to pretrain on; None: all except the unseen and the small ones.
        unseen: Names of the classes to hold out from pretraining, or how many to draw.
        min_class_size: Smaller classes are excluded unless they are named in `seen` or `unseen`.
        seed: Seed of the draw.

    Raises:
        UserError: A name is unknown, a class is both seen and unseen, or no class is left to train on.
    """
    _check_names(seen, unseen, sizes)
    large = [name for name in sorted(sizes) if sizes[name] >= min_class_size]
    if isinstance(unseen, int):
        candidates = [name for name in large if name not in (seen or ())]
        unseen = _draw_unseen(candidates, unseen, seed, keep=0 if seen else 1, min_class_size=min_class_size)
    held_out = sorted(unseen or ())
    used = sorted(seen) if seen else [name for name in large if name not in held_out]
    if sizes and not used:
        raise UserError(
            f"No class is left to train on: of {len(sizes)} classes, {len(held_out)} are unseen (data.unseen) and "
            f"{len(sizes) - len(large)} have fewer images than data.min_class_size={min_class_size}. Lower either."
        )
    return Classes(used, held_out, [name for name in sorted(sizes) if name not in {*used, *held_out}])


def _check_names(seen: Sequence[str] | None, unseen: int | Sequence[str] | None, sizes: dict[str, int]) -> None:
    """Raise UserError for an empty `seen`, an unknown class, or a class named twice."""
    if seen is not None and not seen:
        raise UserError("data.seen=[] names no class to pretrain on; null means all except the unseen.")
    for key, names in (("data.seen", seen), ("data.unseen", unseen)):
        if isinstance(names, str):
            raise UserError(f"{key}={names} must be a list of class names: {key}=[{names}]")
        for name in names if isinstance(names, Sequence) else ():
            if name not in sizes:
                close = difflib.get_close_matches(str(name), sizes, 3, 0.4) or sorted(sizes)[:10]
                raise UserError(
                    f"{key} names the class {name!r}, which is not among the {len(sizes)} classes. "
                    f"Did you mean: {', '.join(close)}?"
                )
    named = [*(seen or ()), *(unseen if isinstance(unseen, Sequence) else ())]
    if repeated := sorted({name for name in named if named.count(name) > 1}):
        raise UserError(
            f"data.seen and data.unseen both name {', '.join(repeated)}. Name every class in one of them, once."
        )


def _draw_unseen(names: list[str], count: int, seed: int, *, keep: int, min_class_size: int) -> list[str]:
    """Draw `count` of `names`, leaving at least `keep` of them."""
    most = max(0, len(names) - keep)
    if not 0 <= count <= most:
        raise UserError(
            f"data.unseen={count}: of the {len(names)} classes with at least data.min_class_size={min_class_size} "
            f"images, 0 to {most} can be held out from pretraining. Give a smaller number, a list of names, or null."
        )
    return sorted(names, key=lambda name: uniform(name, f"unseen {seed}"))[:count]


def count_labels(labels: np.ndarray, classes: Sequence[str], sizes: Sequence[int]) -> np.ndarray:
    """Count the labels [n] of each class, int64 [K].

    Args:
        labels: int64 [n], of the training images.
        classes: [K].
        sizes: [K], all images of each class.

    Raises:
        UserError: There are fewer than two classes, or no label of some of them.
    """
    counts = np.bincount(labels, minlength=len(classes))
    if len(classes) < 2:
        raise UserError(
            f"Supervised training needs at least 2 labelled classes, found {len(classes)}. Use one folder per class in "
            "data.root, lower data.min_class_size, or name more classes in data.seen."
        )
    if not counts.all():
        missing = [int(label) for label in np.flatnonzero(counts == 0)]
        enough = max(sizes[label] for label in missing) + 1
        left = sum(size >= enough for size in sizes)
        named = ", ".join(f"{classes[label]!r} ({sizes[label]})" for label in missing[:10])
        raise UserError(
            f"No training image is labelled of {len(missing)} of {len(classes)} classes (number of their images): "
            f"{named}{', …' if len(missing) > 10 else ''}. Label some; or give data.min_class_size={enough}, which "
            f"leaves {left} classes; or name the other classes in data.seen."
        )
    return counts


def warn_missing_classes(split: str, labels: np.ndarray, classes: Sequence[str]) -> None:
    """Log the classes without any image among the held-out labels [n], which the split's metrics do not cover."""
    missing = [name for label, name in enumerate(classes) if label not in labels]
    if len(labels) and missing:
        log.warning("The %s split has no images of %s: %s metrics do not cover them.", split, ", ".join(missing), split)
