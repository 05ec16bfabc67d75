"""Which samples are labelled and which tested, and what these are called."""

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.interfaces import DataModule, is_images, is_points
from fewlabels.data.splits.assignment import halve
from fewlabels.data.splits.training_record import TrainingRecord


def partition(data: DataModule, record: TrainingRecord | None) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    """Divide the samples into a pool that labels are drawn from and a test set.

    Points: the training and the test split. Images with two or more unseen classes: the images of these, halved by a
    hash of their key. Other images: the labelled training images and the test split. Test images of which the pool
    holds a copy are left out.

    Args:
        data: The data module, set up, its test split and unseen classes checked against `record`.
        record: What the network was trained on; None if that is unknown.

    Returns:
        Rows of the data module's table: pool and test set; and a description of the test set that says no more than is
        known.
    """
    if is_points(data):
        pool, test, population = data.indices("train"), data.indices("test"), "held-out points"
    elif is_images(data) and (unseen := len(data.unseen_classes)) > 1:
        pool, test = halve(data.keys, data.indices("unseen"))
        population = f"{unseen} classes " + ("unseen in pretraining" if record else "held out; not checked if unseen")
    else:
        pool, test = data.labelled(), data.indices("test")
        population = _seen_population(data.seen_classes, record)
    test = test[~np.isin(data.digests[test], data.digests[pool])]
    return pool, test, population


def _seen_population(classes: list[str], record: TrainingRecord | None) -> str:
    """What the test split of classes that are not held out is called."""
    if not classes:
        return "unlabelled images"
    if record and {*classes} <= {*record.seen}:
        return f"{len(classes)} classes seen in pretraining"
    return f"{len(classes)} classes, images not trained on" if record else f"{len(classes)} classes"
