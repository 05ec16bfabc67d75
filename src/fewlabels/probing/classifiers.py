"""The probes: nearest neighbours, a linear classifier and an SVC, on arrays.

During training and afterwards the same functions are used. Nothing here imports torch, so that the processes that fit
in parallel start at once.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.errors import UserError
from fewlabels.probing.classification_metrics import balanced_accuracy

PROBES = ("linear", "svc", "knn")
TITLES = {"linear": "linear probe", "svc": "support vector machine", "knn": "5 nearest neighbours"}
NEIGHBOURS = 5
"""k of kNN: few, since few labels hold few of a class."""
REGULARISATION = (0.001, 0.01, 0.1, 1.0)
"""Inverse regularisations C that the linear probe chooses from."""
FIXED_C = 0.01
"""C where cross-validation is impossible: strong, for few labels and many dimensions."""
FOLDS = 3
MAX_CV_LABELS = 1000
"""C is chosen on an even part of more labels than this: it hardly changes any more, and each label costs 12 fits."""
CHUNK = 4096
"""Samples that are classified at a time, which bounds the copies in float64."""


def predict(
    probe: str, vectors: NDArray[Any], labels: NDArray[np.int64], others: NDArray[Any], *, neighbours: int = NEIGHBOURS
) -> NDArray[np.int64]:
    """Classify samples by a probe that is fitted to labelled ones. Deterministic.

    - "knn": the majority of the k nearest by cosine distance of the embeddings as they are (Wu et al. 2018, §3.4, with
      equal weights); in one dimension, where the cosine is only a sign, by Euclidean distance.
    - "linear": logistic regression on standardised embeddings; C by cross-validation, see `choose_c`.
    - "svc": RBF kernel on standardised embeddings, scikit-learn's defaults.

    Args:
        probe: One of `PROBES`.
        vectors: [n, D]; scaler and probe are fitted to these alone.
        labels: int64 [n] classes. If all are equal, that class is predicted for every sample.
        others: [M, D] to classify.
        neighbours: k of "knn", reduced to n.

    Returns:
        Classes int64 [M].

    Raises:
        UserError: Unknown probe.
    """
    if probe not in PROBES:
        raise UserError(f"probes: {probe!r} is unknown. Choose from {', '.join(PROBES)}.")
    if len(np.unique(labels)) == 1:
        return np.full(len(others), labels[0])
    fit = {"linear": _fit_linear, "svc": _fit_svc, "knn": _fit_knn}[probe]
    classify = fit(np.asarray(vectors, np.float64), labels, neighbours)
    parts = [classify(np.asarray(others[i : i + CHUNK], np.float64)) for i in range(0, len(others), CHUNK)]
    return np.concatenate(parts) if parts else labels[:0]


def _fit_knn(x: NDArray[Any], y: NDArray[np.int64], neighbours: int) -> Callable[[NDArray[Any]], NDArray[np.int64]]:
    from sklearn.neighbors import KNeighborsClassifier

    metric = "euclidean" if x.shape[1] == 1 else "cosine"
    predicted: Callable[[NDArray[Any]], NDArray[np.int64]] = (
        KNeighborsClassifier(min(neighbours, len(x)), metric=metric).fit(x, y).predict
    )
    return predicted


def _fit_svc(x: NDArray[Any], y: NDArray[np.int64], _: int) -> Callable[[NDArray[Any]], NDArray[np.int64]]:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    predicted: Callable[[NDArray[Any]], NDArray[np.int64]] = make_pipeline(StandardScaler(), SVC()).fit(x, y).predict
    return predicted


def _fit_linear(x: NDArray[Any], y: NDArray[np.int64], _: int) -> Callable[[NDArray[Any]], NDArray[np.int64]]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(x)
    x, basis = scaler.transform(x), None
    if 2 * len(x) <= x.shape[1]:  # weights lie in the span of the samples, so a rotation into it changes no prediction
        basis, triangle = np.linalg.qr(x.T)
        x = triangle.T
    model = LogisticRegression(C=choose_c(x, y), max_iter=5000).fit(x, y)

    def classify(others: NDArray[Any]) -> NDArray[np.int64]:
        others = scaler.transform(others)
        predicted: NDArray[np.int64] = model.predict(others if basis is None else others @ basis)
        return predicted

    return classify


def choose_c(x: NDArray[Any], y: NDArray[np.int64]) -> float:
    """Choose C of a logistic regression among `REGULARISATION` by the log loss in stratified cross-validation.

    The folds take the samples of each class in turn, so every class with two labels is always trained on; classes with
    a single label are trained on and never validated. `FIXED_C` if fewer than two classes have two labels.

    Args:
        x: [n, D] standardised embeddings, of which an even part of `MAX_CV_LABELS` at most is used.
        y: int64 [n] classes.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    step = -(-len(y) // MAX_CV_LABELS)
    x, y = x[::step], y[::step]
    classes, counts = np.unique(y, return_counts=True)
    if (counts > 1).sum() < 2:
        return FIXED_C
    fold = np.empty(len(y), np.int64)
    fold[np.argsort(y, kind="stable")] = np.arange(len(y)) % FOLDS
    fold[np.isin(y, classes[counts == 1])] = -1
    losses = np.zeros(len(REGULARISATION))
    for held in range(FOLDS):
        out = fold == held
        model = LogisticRegression(warm_start=True, max_iter=200, tol=1e-3)
        for place, c in enumerate(REGULARISATION if out.any() else ()):
            with warnings.catch_warnings():  # a candidate is scored as far as it has come
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.set_params(C=c).fit(x[~out], y[~out])
            chosen = model.predict_proba(x[out])[np.arange(out.sum()), np.searchsorted(model.classes_, y[out])]
            losses[place] -= np.log(chosen.clip(1e-12)).sum()
    return REGULARISATION[int(losses.argmin())]


def probe_scores(
    sources: Sequence[tuple[NDArray[Any], NDArray[Any]]],
    labels: NDArray[np.int64],
    tested: NDArray[np.int64],
    tasks: Sequence[tuple[NDArray[np.int64], Sequence[str]]],
) -> list[list[float]]:
    """Balanced accuracies of probes fitted to draws of labels.

    Args:
        sources: (pool [P, D], labelled test samples [M, D]) of each.
        labels: int64 [P] classes of the pool.
        tested: int64 [M] classes of the test samples.
        tasks: (rows of the pool whose labels are given, some of `PROBES`) of each draw.

    Returns:
        For each task a value for each source and, within it, each probe.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # the fits are so small that threads would only slow them down
        return [
            [balanced_accuracy(tested, predict(probe, pool[rows], labels[rows], test))
             for pool, test in sources for probe in probes]
            for rows, probes in tasks
        ]  # fmt: skip


def probe_cost(probe: str, labels: int, dim: int, classes: int, tested: int) -> float:
    """Seconds that one probe takes, roughly, on one core; `label_efficiency` corrects it by what it measures."""
    rank = labels if 2 * labels <= dim else dim
    if probe == "linear":
        fits = 13 * (0.004 + 1e-8 * min(labels, MAX_CV_LABELS) * rank * classes)
        return fits + 1e-9 * tested * dim * (rank if rank < dim else classes)
    return (
        0.003 + 1.4e-9 * dim * labels * (tested + labels) if probe == "svc" else 0.003 + 3e-10 * dim * labels * tested
    )
