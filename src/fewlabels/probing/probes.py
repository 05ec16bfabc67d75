"""Probes: simple classifiers trained on frozen embeddings."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.errors import UserError
from fewlabels.probing.classifiers import NEIGHBOURS, PROBES, TITLES, predict
from fewlabels.probing.embeddings import Embeddings

__all__ = ["PROBES", "TITLES"]


def knn_accuracy(train: Embeddings, test: Embeddings, *, neighbours: int = NEIGHBOURS) -> float:
    """Accuracy of the "knn" probe; see `classifiers.predict`.

    Args:
        train: Embeddings to search; those with label -1 are left out.
        test: Embeddings to classify; those with label -1 are left out.
        neighbours: k, reduced to the number of training embeddings if these are fewer.

    Returns:
        A fraction; NaN if there are no test labels, or training labels of fewer than two classes.
    """
    return _accuracy("knn", train, test, neighbours)


def linear_accuracy(train: Embeddings, test: Embeddings) -> float:
    """Accuracy of the "linear" probe; see `classifiers.predict`.

    Args:
        train: Embeddings to fit; those with label -1 are left out.
        test: Embeddings to classify; those with label -1 are left out.

    Returns:
        A fraction; NaN if there are no test labels, or training labels of fewer than two classes.
    """
    return _accuracy("linear", train, test, NEIGHBOURS)


def labelled(part: Embeddings) -> Embeddings:
    """The labelled ones of some embeddings."""
    return part.select(part.labels >= 0)


def _accuracy(probe: str, train: Embeddings, test: Embeddings, neighbours: int) -> float:
    train, test = labelled(train), labelled(test)
    if not len(test) or len(np.unique(train.labels)) < 2:
        return float("nan")
    predicted = predict(probe, train.vectors, train.labels, test.vectors, neighbours=neighbours)
    return float((predicted == test.labels).mean())


def check_probe(train: Embeddings, test: Embeddings, labels: int, *, balanced: bool = True) -> None:
    """Check that a probe can be trained and tested.

    Args:
        train: Embeddings that labels are drawn from.
        test: Embeddings to classify.
        labels: Number of labels to draw.
        balanced: Whether each class gets as many labels as another; random draws may miss a class.

    Raises:
        UserError: There are fewer than two classes, too few labels, no test labels, or embeddings that are not finite.
    """
    classes = check_labels(train, test)
    if labels < (needed := classes if balanced else 1):
        raise UserError(
            f"budgets: {labels} labels are fewer than the {needed} that draws={'balanced' if balanced else 'random'} "
            f"needs for {classes} classes. Give budgets of at least {needed}"
            f"{', or draws=random' if balanced else ''}."
        )
    for part in (train, test):
        if broken := int((~np.isfinite(part.vectors)).any(1).sum()):
            raise UserError(
                f"{broken} of {len(part)} embeddings are not finite: the training diverged. Pretrain again with a "
                "lower method.optimizer.lr."
            )


def check_labels(train: Embeddings, test: Embeddings) -> int:
    """Check that there are labels to train a probe with and to test it on.

    Args:
        train: Embeddings that labels are drawn from.
        test: Embeddings to classify.

    Returns:
        Number of classes in `train`.

    Raises:
        UserError: There are labels of fewer than two classes, or no test labels.
    """
    classes = len(np.unique(train.labels[train.labels >= 0]))
    if not classes:
        raise UserError(
            "A probe needs labelled samples, and there are none. Label some: move the images of a class into a folder "
            "of its own under data.root, for at least 2 classes."
        )
    if classes < 2:
        raise UserError(
            f"A probe needs labelled samples of at least 2 classes; there are {classes}. Label samples of more "
            "classes, or raise data.label_fraction."
        )
    if not (test.labels >= 0).any():
        raise UserError("A probe needs labelled test samples; there are none. Label some, or raise data.test_fraction.")
    return classes


def pixel_components(
    train: NDArray[np.uint8], *others: Iterable[NDArray[np.uint8]], count: int = 64
) -> list[NDArray[np.float32]]:
    """Principal components of raw pixels, a baseline without any network.

    Args:
        train: uint8 [N, C, H, W], images that the components are fitted to.
        others: Images to project, each in chunks uint8 [M, C, H, W], so that not all are in memory as floats.
        count: Number of components, at most N.

    Returns:
        float32 [M, count] for each of `others`.
    """
    from sklearn.decomposition import PCA

    model = PCA(min(count, len(train), train[0].size), svd_solver="randomized", random_state=0)
    model.fit(train.reshape(len(train), -1).astype(np.float32) / 255)
    return [
        np.concatenate([model.transform(x.reshape(len(x), -1).astype(np.float32) / 255).astype(np.float32)
                        for x in chunks])
        for chunks in others
    ]  # fmt: skip
