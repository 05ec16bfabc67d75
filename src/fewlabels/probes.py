"""Probes: how much of the labels can be read from frozen embeddings."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.embeddings import Embeddings
from fewlabels.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

PROBES = ("linear", "svc", "knn")
TITLES = {"linear": "linear probe", "svc": "support vector machine", "knn": "5 nearest neighbours"}


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

    known, asked = train.select(train.labels >= 0), test.select(test.labels >= 0)
    if not len(asked) or len(np.unique(known.labels)) < 2:
        return float("nan")
    probe = KNeighborsClassifier(min(neighbours, len(known)), metric="cosine")
    return float(probe.fit(known.vectors, known.labels).score(asked.vectors, asked.labels))


def linear_accuracy(train: Embeddings, test: Embeddings) -> float:
    """Accuracy of ridge regression onto the classes, on standardised embeddings: a linear probe that fits at once.

    Args:
        train: Labelled embeddings; those with label -1 are left out.
        test: What is to be told, likewise.

    Returns:
        A share of 1; NaN where nothing on either side is labelled, or all training embeddings are of one class.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known, asked = train.select(train.labels >= 0), test.select(test.labels >= 0)
    if not len(asked) or len(np.unique(known.labels)) < 2:
        return float("nan")
    probe = make_pipeline(StandardScaler(), RidgeClassifier(alpha=float(len(known))))
    return float(probe.fit(known.vectors, known.labels).score(asked.vectors, asked.labels))


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
        UserError: An unknown probe, fewer labels than classes, fewer than two classes, or embeddings that are
            not finite.
    """
    from threadpoolctl import threadpool_limits

    check_probe(train, test, labels)
    chosen = (stratified_draw(train.labels, labels, seed=(seed, draw)) for draw in range(draws))
    with threadpool_limits(1):  # the fits are small: threads would wait for each other longer than they work
        return np.array([probe_accuracy(train.select(rows), test, probe) for rows in chosen])


def label_efficiency(
    sources: Mapping[str, tuple[Embeddings, Embeddings]],
    *,
    budgets: Sequence[int] | None = None,
    probes: Sequence[str] = PROBES,
    draws: int = 5,
    seed: int = 0,
) -> "pd.DataFrame":
    """Balanced accuracy against the number of labels, for several embeddings of the same images.

    All sources get the same labels in the same draw, and within a draw the small budgets are in the large ones, so
    that differences between sources are paired and curves do not jump about.

    Args:
        sources: Name to (where labels are drawn from, what is to be told); the same images in the same order.
        budgets: Numbers of labels; None: `label_budgets` of what there is. All of them are the last.
        probes: Some of `PROBES`.
        draws: Number of independent draws; all labels together leave nothing to draw, and are tried once.
        seed: Of the draws.

    Returns:
        Tidy table: source, probe, labels, draw, balanced_accuracy (a share of 1).

    Raises:
        UserError: As `few_label_accuracy`.
    """
    import pandas as pd
    from threadpoolctl import threadpool_limits

    (labels, *others) = [train.labels for train, _ in sources.values()]
    assert all(np.array_equal(labels, other) for other in others), "sources are to hold the same images"
    total, classes = int((labels >= 0).sum()), len(np.unique(labels[labels >= 0]))
    budgets = label_budgets(total, classes) if budgets is None else budgets
    for train, test in sources.values():
        check_probe(train, test, min(budgets))
    rows = []
    with threadpool_limits(1):
        for draw in range(draws):
            order = stratified_draw(labels, total, seed=(seed, draw))
            for budget in (b for b in budgets if b < total or draw == 0):
                for source, (train, test) in sources.items():
                    known = train.select(order[:budget])
                    rows += [(source, p, budget, draw, probe_accuracy(known, test, p)) for p in probes]
    return pd.DataFrame(rows, columns=["source", "probe", "labels", "draw", "balanced_accuracy"])


def label_budgets(total: int, classes: int) -> list[int]:
    """30, 40, … 100, 200, … 1,000, 2,000, … labels, from two per class on, and all of them.

    Raises:
        UserError: There are fewer than the smallest budget.
    """
    steps = [n * 10**power for power in range(1, 7) for n in range(1, 10)]
    budgets = [n for n in steps if max(30, 2 * classes) <= n < total]
    if not budgets:
        raise UserError(
            f"{total} labelled images of {classes} classes are too few for a curve, whose smallest budget is "
            f"{max(30, 2 * classes)} labels. Label more, or keep fewer classes apart (data.unseen)."
        )
    return [*budgets, total]


def check_probe(train: Embeddings, test: Embeddings, labels: int) -> None:
    """Raise UserError if there is nothing to tell, or nothing to tell it from."""
    classes = len(np.unique(train.labels[train.labels >= 0]))
    if classes < 2:
        raise UserError(f"There is nothing to tell: {classes} labelled class(es). A probe needs at least two.")
    if labels < classes:
        raise UserError(f"labels={labels} are fewer than the {classes} classes: one each is the least.")
    if not (test.labels >= 0).any():
        raise UserError("There are no labelled images to test on.")
    for part in (train, test):
        if broken := int((~np.isfinite(part.vectors)).any(1).sum()):
            raise UserError(
                f"{broken} of {len(part)} embeddings are not finite: the training has diverged. Train anew "
                "with a lower method.optimizer.lr."
            )


def probe_accuracy(known: Embeddings, test: Embeddings, probe: str) -> float:
    """Fit a scaler and a probe on all of `known`; its balanced accuracy on the labelled part of `test`."""
    from sklearn.metrics import recall_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), _classifier(probe, len(known)))
    model.fit(known.vectors, known.labels)
    asked = test.select(test.labels >= 0)
    present = np.unique(asked.labels)  # a class that only the labels have is no class to be told
    told = model.predict(asked.vectors)
    return float(recall_score(asked.labels, told, labels=present, average="macro"))


def interval(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """Mean, and half the width of its 95% interval by Student's t; NaN of fewer than two values."""
    from scipy.stats import t

    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    return float(values.mean()), float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def with_interval(mean: float, half: float, sign: str = "") -> str:
    """A mean and half of its interval, which a single draw does not have."""
    return f"{mean:{sign}.1f}" + ("" if np.isnan(half) else f" ± {half:.1f}")


def pixel_components(
    train: NDArray[np.uint8], *others: NDArray[np.uint8], count: int = 64
) -> list[NDArray[np.float32]]:
    """Principal components of the raw pixels: what can be told without any network.

    Args:
        train: uint8 [N, C, H, W], that the components are fitted on.
        others: uint8 [M, C, H, W] each, that are projected.
        count: Number of components, at most N.

    Returns:
        float32 [M, count] of each of the others.
    """
    from sklearn.decomposition import PCA

    model = PCA(min(count, len(train)), svd_solver="randomized", random_state=0)
    model.fit(train.reshape(len(train), -1).astype(np.float32) / 255)
    return [model.transform(x.reshape(len(x), -1).astype(np.float32) / 255).astype(np.float32) for x in others]


def stratified_draw(labels: NDArray[np.int64], count: int, seed: Any) -> NDArray[np.int64]:
    """Rows of `count` labels, int64 [count], shared out evenly among the classes as far as these have so many.

    The first n of them are what the same seed draws for n.
    """
    random = np.random.default_rng(seed)
    queues = [list(random.permutation(np.flatnonzero(labels == c))) for c in np.unique(labels[labels >= 0])]
    chosen: list[int] = []
    while len(chosen) < count and any(queues):
        chosen += [queue.pop() for queue in queues if queue]
    return np.array(chosen[:count], dtype=np.int64)


def _classifier(probe: str, known: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    if probe not in PROBES:
        raise UserError(f"probe={probe!r} is unknown: choose one of {', '.join(PROBES)}.")
    if probe == "linear":
        return LogisticRegression(C=0.01, max_iter=2000)  # few labels in many dimensions want a strong prior
    return SVC() if probe == "svc" else KNeighborsClassifier(min(5, known))
