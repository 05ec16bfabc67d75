"""Probes: how much of the labels can be read from frozen embeddings."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.embeddings import Embeddings
from fewlabels.errors import UserError

PROBES = ("linear", "svc", "knn")


def knn_accuracy(train: Embeddings, test: Embeddings, *, neighbours: int = 20) -> float:
    """Accuracy of the vote of the nearest training embeddings by cosine (Wu et al. 2018, §3.4; unweighted).

    Args:
        train: Labelled embeddings; those with label -1 are left out.
        test: What is to be told, likewise.
        neighbours: k, at most the number of training embeddings.

    Returns:
        A share of 1; NaN where nothing on either side is labelled, or all neighbours are of one class.
    """
    from sklearn.neighbors import KNeighborsClassifier

    known, asked = train.labels >= 0, test.labels >= 0
    if not asked.any() or len(np.unique(train.labels[known])) < 2:
        return float("nan")
    probe = KNeighborsClassifier(min(neighbours, int(known.sum())), metric="cosine")
    probe.fit(train.vectors[known], train.labels[known])
    return float(probe.score(test.vectors[asked], test.labels[asked]))


def few_label_accuracy(
    train: Embeddings, test: Embeddings, *, probe: str, labels: int, draws: int = 5, seed: int = 0
) -> NDArray[np.float64]:
    """Balanced accuracy of a probe that is given few labels, drawn several times.

    Every draw takes the same number of each class, or all that there are; the scaler and the probe see these alone.

    Args:
        train: Where labels are drawn from.
        test: What is to be told; never fitted on.
        probe: "linear" (logistic regression), "svc" (RBF kernel) or "knn" (k = 5), all on standardised embeddings.
        labels: Number of labels in all, at least one per class.
        draws: Number of independent draws.
        seed: Of the draws.

    Returns:
        [draws] shares of 1.

    Raises:
        UserError: An unknown probe, or fewer labels than classes.
    """
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes = len(np.unique(train.labels[train.labels >= 0]))
    asked = test.labels >= 0
    if labels < classes:
        raise UserError(f"labels={labels} are fewer than the {classes} classes: one each is the least.")
    scores = []
    for draw in range(draws):
        chosen = stratified_draw(train.labels, labels, seed=(seed, draw))
        model = make_pipeline(StandardScaler(), _classifier(probe))
        model.fit(train.vectors[chosen], train.labels[chosen])
        scores.append(balanced_accuracy_score(test.labels[asked], model.predict(test.vectors[asked])))
    return np.array(scores)


def stratified_draw(labels: NDArray[np.int64], count: int, seed: Any) -> NDArray[np.int64]:
    """Rows of `count` labels, int64 [count], shared out evenly among the classes as far as these have so many."""
    random = np.random.default_rng(seed)
    queues = [list(random.permutation(np.flatnonzero(labels == c))) for c in np.unique(labels[labels >= 0])]
    chosen: list[int] = []
    while len(chosen) < count and any(queues):
        chosen += [queue.pop() for queue in queues if queue]
    return np.array(chosen[:count], dtype=np.int64)


def _classifier(probe: str) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    if probe not in PROBES:
        raise UserError(f"probe={probe!r} is unknown: choose one of {', '.join(PROBES)}.")
    if probe == "linear":
        return LogisticRegression(C=0.01, max_iter=2000)  # few labels in many dimensions want a strong prior
    return SVC() if probe == "svc" else KNeighborsClassifier(5)
