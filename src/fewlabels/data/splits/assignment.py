"""Train/val/test splits, label subsets, and halves, by the hash of a key.

The split of an image depends only on its key (see `keys`) and `data.split_seed`: adding an image does not move
any other. It does not depend on the run's seed, so runs with different seeds are tested on the same images, and none
of them trained on these.
"""

import hashlib
import os
from collections.abc import Sequence

import numpy as np

from fewlabels.core.errors import UserError


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


def keep_one_for_training(splits: np.ndarray, keys: Sequence[str], labels: np.ndarray) -> np.ndarray:
    """Move one key of every class that has none in "train", and at least two in all, there: chosen by a hash.

    Args:
        splits: str [N], see `assign`.
        keys: [N].
        labels: int64 [N], -1 is unlabelled.

    Returns:
        str [N].
    """
    trained, moved = np.unique(labels[splits == "train"]), set[str]()
    for label in np.setdiff1d(labels[labels >= 0], trained):
        of_class = {keys[int(row)] for row in np.flatnonzero(labels == label)}
        if len(of_class) > 1:
            moved.add(max(of_class, key=lambda key: uniform(key, "kept for training")))
    return np.where([key in moved for key in keys], "train", splits) if moved else splits


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


def assign_folders(
    splits: np.ndarray, keys: Sequence[str], val_fraction: float, test_fraction: float, seed: int | None = None
) -> np.ndarray:
    """Keep the splits that folders tell, and draw from "train" those of val and test that no folder tells.

    Args:
        splits: str [N]: "train", "val" or "test".
        keys: [N] as for `assign`.
        val_fraction: Fraction of the images of "train".
        test_fraction: Likewise.
        seed: As for `assign`.

    Returns:
        str [N]: "train", "val" or "test".

    Raises:
        UserError: As `assign`.
    """
    fractions = ("val", val_fraction), ("test", test_fraction)
    missing = [0.0 if split in splits else fraction for split, fraction in fractions]
    drawn = assign(keys, missing[0], missing[1], seed)
    return np.where(splits == "train", drawn, splits)


def halve(keys: Sequence[str], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows into two halves by a hash of their key; equal keys stay together."""
    second = np.array([uniform(keys[row], "split") for row in rows]) < 0.5
    return rows[~second], rows[second]


def nested_subset(keys: Sequence[str], labels: np.ndarray, rows: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Choose a stratified, nested subset of the labelled rows.

    Of every class the first round(fraction × size) rows, at least one, of an order that depends on `seed` and the
    keys are chosen. So a subset at 1% is contained in the one at 10%. Unlabelled rows (label -1) are never chosen.

    Args:
        keys: [N], see `keys.split_keys`.
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


def check_label_fraction(fraction: float) -> None:
    """Raise UserError unless 0 < fraction <= 1."""
    if not 0 < fraction <= 1:
        raise UserError(
            f"data.label_fraction={fraction} must be above 0 and at most 1: the fraction of the training labels to "
            "use, for example 0.1. Pretraining uses no labels."
        )
