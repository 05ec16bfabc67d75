"""Train/val/test splits, label subsets, and the choice of seen and unseen classes.

The split of an image depends only on its key (see `split_keys`) and `data.split_seed`: adding an image does not move
any other. It does not depend on the run's seed, so runs with different seeds are tested on the same images, and none
of them trained on these.
"""

import difflib
import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewlabels.core.errors import UserError

log = logging.getLogger(__name__)


def uniform(text: str, salt: str) -> float:
    """Hash `text` to a number in [0, 1), the same on every machine."""
    digest = hashlib.blake2b(os.fsencode(text), digest_size=8, person=b"fewlabels", salt=_salt(salt)).digest()
    return int.from_bytes(digest, "big") / 2**64


def _salt(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def assign(keys: Sequence[str], val_fraction: float, test_fraction: float, seed: int | None = None) -> np.ndarray:
    """Split images by the hash of their key.

    Args:
        keys: [N]; equal keys get the same split.
        val_fraction: Fraction of all images, in [0, 1).
        test_fraction: Fraction of all images, in [0, 1).
        seed: Each seed gives other splits; None: those of version 0.1.

    Returns:
        str [N]: "train", "val" or "test".

    Raises:
        UserError: A fraction is negative, or none is left for training.
    """
    if not (val_fraction >= 0 and test_fraction >= 0 and val_fraction + test_fraction < 1):  # also refuses NaN
        raise UserError(
            f"data.val_fraction={val_fraction} and data.test_fraction={test_fraction}: each must be at least 0 and "
            "their sum below 1; the rest is for training."
        )
    salt = "split" if seed is None else f"split {seed}"
    hashes = np.array([uniform(key, salt) for key in keys])
    return np.select([hashes < test_fraction, hashes < test_fraction + val_fraction], ["test", "val"], "train")


def assign_official(
    paths: Sequence[str], keys: Sequence[str], val_fraction: float, test_fraction: float, seed: int | None = None
) -> np.ndarray:
    """Keep a dataset's official test images, named "test-…", and split the others into train and val.

    Args:
        paths: [N] such as "cat/test-00017" or "cat/train-00017".
        keys: [N] as for `assign`.
        val_fraction: Fraction of the other images, in [0, 1).
        test_fraction: Must be 0.
        seed: As for `assign`.

    Returns:
        str [N]: "train", "val" or "test".

    Raises:
        UserError: A fraction is out of range.
    """
    if test_fraction != 0:
        raise UserError(f"data.test_fraction={test_fraction} must be 0: this dataset has an official test split.")
    official = np.array([path.rpartition("/")[2].startswith("test-") for path in paths])
    return np.where(official, "test", assign(keys, val_fraction, 0.0, seed))


def halve(keys: Sequence[str], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows into two halves by a hash of their key; equal keys stay together."""
    second = np.array([uniform(keys[row], "split") for row in rows]) < 0.5
    return rows[~second], rows[second]


def nested_subset(keys: Sequence[str], labels: np.ndarray, rows: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Choose a stratified, nested subset of the labelled rows.

    Of every class the first round(fraction × size) rows, at least one, of an order that depends on `seed` and the
    keys are chosen. So a subset at 1% is contained in the one at 10%. Unlabelled rows (label -1) are never chosen.

    Args:
        keys: [N], see `split_keys`.
        labels: int64 [N].
        rows: int64 [n] rows to choose from.
        fraction: In (0, 1].
        seed: Each seed gives a different subset.

    Returns:
        int64 [m], sorted.

    Raises:
        UserError: `fraction` is outside (0, 1].
    """
    check_label_fraction(fraction)
    chosen = []
    for label in np.unique(labels[rows]):
        if label >= 0:
            members = sorted(rows[labels[rows] == label], key=lambda row: uniform(keys[row], f"labels {seed}"))
            chosen += members[: max(1, round(fraction * len(members)))]
    return np.sort(np.array(chosen, np.int64))


def count_labels(labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Count the labels [n] of each class, int64 [K].

    Raises:
        UserError: There are fewer than two classes, or no label of one of them.
    """
    counts = np.bincount(labels, minlength=len(classes))
    if len(classes) < 2:
        raise UserError(
            f"Supervised training needs at least 2 labelled classes, found {len(classes)}. Use one folder per class in "
            "data.root, lower data.min_class_size, or name more classes in data.seen."
        )
    if not counts.all():
        raise UserError(
            f"No training image of the class {classes[int(counts.argmin())]!r} is labelled. Label some, exclude small "
            "classes with data.min_class_size=N, or name the other classes in data.seen."
        )
    return counts


def warn_missing_classes(split: str, labels: np.ndarray, classes: Sequence[str]) -> None:
    """Log the classes without any image among the held-out labels [n], which the split's metrics do not cover."""
    missing = [name for label, name in enumerate(classes) if label not in labels]
    if len(labels) and missing:
        log.warning("The %s split has no images of %s: %s metrics do not cover them.", split, ", ".join(missing), split)


def check_label_fraction(fraction: float) -> None:
    """Raise UserError unless 0 < fraction <= 1."""
    if not 0 < fraction <= 1:
        raise UserError(
            f"data.label_fraction={fraction} must be above 0 and at most 1: the fraction of the training labels to "
            "use, for example 0.1. Pretraining uses no labels."
        )


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
