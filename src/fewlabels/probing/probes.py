"""Probes: simple classifiers trained on frozen embeddings."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.errors import UserError
from fewlabels.probing.classification_metrics import balanced_accuracy
from fewlabels.probing.embeddings import Embeddings

PROBES = ("linear", "svc", "knn")
TITLES = {"linear": "linear probe", "svc": "support vector machine", "knn": "5 nearest neighbours"}


def knn_accuracy(train: Embeddings, test: Embeddings, *, neighbours: int = 20) -> float:
    """Accuracy of k-nearest-neighbour classification by cosine distance (Wu et al. 2018, §3.4, with equal weights).

    Args:
        train: Embeddings to search; those with label -1 are left out.
        test: Embeddings to classify; those with label -1 are left out.
        neighbours: k, reduced to the number of training embeddings if these are fewer.

    Returns:
        A fraction; NaN if there are no test labels, or training labels of fewer than two classes.
    """
    from sklearn.neighbors import KNeighborsClassifier

    train, test = _labelled(train), _labelled(test)
    return _accuracy(KNeighborsClassifier(min(neighbours, len(train)), metric="cosine"), train, test)


def linear_accuracy(train: Embeddings, test: Embeddings) -> float:
    """Accuracy of ridge regression onto the classes, on standardised embeddings: a fast linear probe.

    Args:
        train: Embeddings to fit; those with label -1 are left out.
        test: Embeddings to classify; those with label -1 are left out.

    Returns:
        A fraction; NaN if there are no test labels, or training labels of fewer than two classes.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = _labelled(train), _labelled(test)
    return _accuracy(make_pipeline(StandardScaler(), RidgeClassifier(alpha=float(len(train)))), train, test)


def _labelled(part: Embeddings) -> Embeddings:
    return part.select(part.labels >= 0)


def _accuracy(classifier: Any, train: Embeddings, test: Embeddings) -> float:
    if not len(test) or len(np.unique(train.labels)) < 2:
        return float("nan")
    return float(classifier.fit(train.vectors, train.labels).score(test.vectors, test.labels))


def check_probe(train: Embeddings, test: Embeddings, labels: int) -> None:
    """Check that a probe can be trained and tested.

    Args:
        train: Embeddings that labels are drawn from.
        test: Embeddings to classify.
        labels: Number of labels to draw.

    Raises:
        UserError: There are fewer than two classes, fewer labels than classes, no test labels, or embeddings that are
            not finite.
    """
    classes = check_labels(train, test)
    if labels < classes:
        raise UserError(
            f"budgets: {labels} labels are fewer than the {classes} classes; a probe needs at least 1 per class. Give "
            f"budgets of at least {classes}."
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


def probe_accuracy(train: Embeddings, test: Embeddings, probe: str) -> float:
    """Balanced accuracy, on the labelled part of `test`, of a scaler and a probe fitted to all of `train`."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), _classifier(probe, len(train)))
    classifier.fit(train.vectors, train.labels)
    test = _labelled(test)
    return balanced_accuracy(test.labels, classifier.predict(test.vectors))


def _classifier(probe: str, samples: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    if probe not in PROBES:
        raise UserError(f"probes: {probe!r} is unknown. Choose from {', '.join(PROBES)}.")
    if probe == "linear":
        return LogisticRegression(C=0.01, max_iter=2000)  # strong regularisation: few labels, many dimensions
    return SVC() if probe == "svc" else KNeighborsClassifier(min(5, samples))


def pixel_components(
    train: NDArray[np.uint8], *others: NDArray[np.uint8], count: int = 64
) -> list[NDArray[np.float32]]:
    """Principal components of raw pixels, a baseline without any network.

    Args:
        train: uint8 [N, C, H, W], images that the components are fitted to.
        others: uint8 [M, C, H, W] each, images to project.
        count: Number of components, at most N.

    Returns:
        float32 [M, count] for each of `others`.
    """
    from sklearn.decomposition import PCA

    model = PCA(min(count, len(train)), svd_solver="randomized", random_state=0)
    model.fit(train.reshape(len(train), -1).astype(np.float32) / 255)
    return [model.transform(x.reshape(len(x), -1).astype(np.float32) / 255).astype(np.float32) for x in others]
