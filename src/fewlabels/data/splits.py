"""Who is in which split: decided image by image from its path, so that a new image moves no other.

The train/val/test split does not depend on the run's seed: runs with different seeds are tested on the same images,
and a network can never be tested on what another seed trained it on.
"""

import difflib
import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewlabels.errors import UserError

log = logging.getLogger(__name__)


def uniform(text: str, salt: str) -> float:
    """Hash `text` to a number in [0, 1), the same on every machine."""
    digest = hashlib.blake2b(os.fsencode(text), digest_size=8, person=b"fewlabels", salt=_salt(salt)).digest()
    return int.from_bytes(digest, "big") / 2**64


def _salt(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def assign(paths: Sequence[str], val_fraction: float, test_fraction: float) -> np.ndarray:
    """Split images by the hash of their path.

    Args:
        paths: [N] relative paths.
        val_fraction: Share of all images, in [0, 1).
        test_fraction: Share of all images, in [0, 1).

    Returns:
        str [N]: "train", "val" or "test".

    Raises:
        UserError: the fractions are negative, or leave nothing to train on.
    """
    if not (val_fraction >= 0 and test_fraction >= 0 and val_fraction + test_fraction < 1):  # NaN is refused too
        raise UserError(
            f"data.val_fraction={val_fraction} and data.test_fraction={test_fraction}: each must be at least 0 and "
            "their sum below 1, so that something is left to train on."
        )
    draws = np.array([uniform(path, "split") for path in paths])
    return np.select([draws < test_fraction, draws < test_fraction + val_fraction], ["test", "val"], "train")


def assign_official(paths: Sequence[str], val_fraction: float, test_fraction: float) -> np.ndarray:
    """Keep a set's own test images, those named "test-…", and split the others into train and val.

    Args:
        paths: [N] such as "cat/test-00017" or "cat/train-00017".
        val_fraction: Share of the others, in [0, 1).
        test_fraction: 0: the test set is what it is.

    Returns:
        str [N]: "train", "val" or "test".

    Raises:
        UserError: a fraction is out of range.
    """
    if test_fraction != 0:
        raise UserError(
            f"data.test_fraction={test_fraction} must be 0: this set has an official test split, and that is used."
        )
    official = np.array([path.rpartition("/")[2].startswith("test-") for path in paths])
    return np.where(official, "test", assign(paths, val_fraction, 0.0))


def nested_subset(paths: Sequence[str], labels: np.ndarray, rows: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Choose which of `rows` to know the labels of: stratified, seeded and nested.

    Every class keeps round(fraction × its size) images, at least one, the first in an order fixed by `seed`: what
    is chosen at 1% is chosen at 10% too. Unlabelled rows (label -1) are never chosen.

    Args:
        paths: [N] relative paths.
        labels: int64 [N].
        rows: int64 [n] rows to choose from.
        fraction: In (0, 1].
        seed: Another seed, another choice.

    Returns:
        int64 [m], sorted.

    Raises:
        UserError: `fraction` is outside (0, 1].
    """
    check_label_fraction(fraction)
    chosen = []
    for label in np.unique(labels[rows]):
        if label >= 0:
            members = sorted(rows[labels[rows] == label], key=lambda row: uniform(paths[row], f"labels {seed}"))
            chosen += members[: max(1, round(fraction * len(members)))]
    return np.sort(np.array(chosen, np.int64))


def count_labels(labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """How many of the labels [n] there are of each class, int64 [K].

    Raises:
        UserError: fewer than two classes, or none of one of them.
    """
    counts = np.bincount(labels, minlength=len(classes))
    if len(classes) < 2:
        raise UserError(
            f"There is nothing to tell: {len(classes)} labelled class(es) to learn from, and 2 are the least."
        )
    if not counts.all():
        raise UserError(
            f"No training image of the class {classes[int(counts.argmin())]!r} is labelled, so nothing can learn to "
            "tell it. Label more, leave small classes out with data.min_class_size=N, or name the others in data.seen."
        )
    return counts


def warn_of_absent(split: str, labels: np.ndarray, classes: Sequence[str]) -> None:
    """Name the classes that the held-out labels [n] have none of: what is measured says nothing of them."""
    absent = [name for label, name in enumerate(classes) if label not in labels]
    if len(labels) and absent:
        log.warning("No %s image is of %s: no %s figure is of them.", split, ", ".join(absent), split)


def check_label_fraction(fraction: float) -> None:
    """Raise UserError unless 0 < fraction <= 1."""
    if not 0 < fraction <= 1:
        raise UserError(
            f"data.label_fraction={fraction} must be above 0 and at most 1, the share of the training labels to use; "
            "for example 0.1. (Pretraining uses no labels at all.)"
        )


@dataclass(frozen=True)
class Classes:
    """The classes of a set: shown in pretraining, kept from it, and too small to use (or not asked for)."""

    seen: list[str]
    unseen: list[str]
    aside: list[str]


def choose_classes(
    sizes: dict[str, int],
    seen: Sequence[str] | None,
    unseen: int | Sequence[str] | None,
    *,
    min_class_size: int,
    seed: int,
) -> Classes:
    """Decide which classes are used, and for what.

    Args:
        sizes: {class name: number of images}.
        seen: The only classes to pretrain on; None: all that are left.
        unseen: Names of classes to keep from pretraining, or how many to draw.
        min_class_size: Smaller classes are set aside unless they are asked for by name.
        seed: For the draw.

    Raises:
        UserError: an unknown name, a class both seen and unseen, or none left to train on.
    """
    named = [*(seen or ()), *(unseen if isinstance(unseen, Sequence) else ())]
    for key, names in (("data.seen", seen), ("data.unseen", unseen)):
        _known(key, names if isinstance(names, Sequence) else (), sizes)
    if seen is not None and not seen:
        raise UserError("data.seen=[] names no class to pretrain on; null means all but the unseen.")
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise UserError(f"data.seen and data.unseen both name {', '.join(twice)}; a class can be in one of them, once.")
    large = [name for name in sorted(sizes) if sizes[name] >= min_class_size]
    if isinstance(unseen, int):
        free = [name for name in large if name not in (seen or ())]
        unseen = _draw(free, unseen, seed, spare=0 if seen else 1, min_class_size=min_class_size)
    kept = sorted(unseen or ())
    shown = sorted(seen) if seen else [name for name in large if name not in kept]
    if sizes and not shown:
        raise UserError(
            f"No class is left to train on: {len(sizes)} classes, of which {len(kept)} are unseen (data.unseen) and "
            f"{len(sizes) - len(large)} have fewer images than data.min_class_size={min_class_size}. Lower either."
        )
    return Classes(shown, kept, [name for name in sorted(sizes) if name not in {*shown, *kept}])


def _known(key: str, names: Sequence[str], sizes: dict[str, int]) -> None:
    if isinstance(names, str):
        raise UserError(f"{key}={names} must be a list of class names: {key}=[{names}]")
    for name in names:
        if name not in sizes:
            close = difflib.get_close_matches(str(name), sizes, 3, 0.4) or sorted(sizes)[:10]
            raise UserError(
                f"{key} names the class {name!r}, which is not among the {len(sizes)} classes. "
                f"Close: {', '.join(close)}."
            )


def _draw(names: list[str], count: int, seed: int, *, spare: int, min_class_size: int) -> list[str]:
    """Draw `count` of `names`, leaving at least `spare`."""
    if not 0 <= count <= max(0, len(names) - spare):
        raise UserError(
            f"data.unseen={count}: of the {len(names)} classes with at least data.min_class_size={min_class_size} "
            f"images, 0 to {max(0, len(names) - spare)} can be kept from pretraining. Give a smaller number, a list of "
            "names, or null."
        )
    return sorted(names, key=lambda name: uniform(name, f"unseen {seed}"))[:count]
