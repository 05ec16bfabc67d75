"""Label efficiency: balanced accuracy of probes against the number of labels."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.errors import UserError
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.probes import PROBES, check_probe, probe_accuracy

if TYPE_CHECKING:
    import pandas as pd


def few_label_accuracy(
    train: Embeddings, test: Embeddings, *, probe: str, labels: int, repeats: int = 5, seed: int = 0
) -> NDArray[np.float64]:
    """Balanced accuracy of a probe trained on few labels, for several random label subsets.

    Subsets are balanced: each has the same number of labels per class, or all labels of classes with fewer. Scaler and
    probe are fitted to the subset alone.

    Args:
        train: Embeddings that labels are drawn from.
        test: Embeddings to test on; nothing is fitted to them.
        probe: "linear" (logistic regression), "svc" (RBF kernel) or "knn" (k = 5), all on standardised embeddings.
        labels: Size of a subset, at least one label per class.
        repeats: Number of subsets.
        seed: Seed of the subsets.

    Returns:
        Fractions [repeats].

    Raises:
        UserError: Unknown probe, fewer labels than classes, fewer than two classes, no test labels, or embeddings that
            are not finite.
    """
    from threadpoolctl import threadpool_limits

    check_probe(train, test, labels)
    subsets = (stratified_draw(train.labels, labels, seed=(seed, repeat)) for repeat in range(repeats))
    with threadpool_limits(1):  # the fits are so small that threads would only slow them down
        return np.array([probe_accuracy(train.select(rows), test, probe) for rows in subsets])


def label_efficiency(
    sources: Mapping[str, tuple[Embeddings, Embeddings]],
    *,
    budgets: Sequence[int] | None = None,
    probes: Sequence[str] = PROBES,
    repeats: int = 5,
    seed: int = 0,
) -> "pd.DataFrame":
    """Balanced accuracy against the number of labels, for several embeddings of the same images.

    Args:
        sources: Name to (embeddings to draw labels from, embeddings to test on), all of the same images in one order.
        budgets: Numbers of labels; None: `label_budgets`.
        probes: Some of `PROBES`.
        repeats: Random label subsets, equal for all sources and nested across budgets; 1 for a budget of all labels.
        seed: Seed of the subsets.

    Returns:
        Tidy table: source, probe, labels, repeat, balanced_accuracy (a fraction).

    Raises:
        UserError: As in `few_label_accuracy` and, without `budgets`, in `label_budgets`.
    """
    import pandas as pd
    from threadpoolctl import threadpool_limits

    labels = _common_labels(sources)
    total = int((labels >= 0).sum())
    budgets = label_budgets(total, len(np.unique(labels[labels >= 0]))) if budgets is None else budgets
    for train, test in sources.values():
        check_probe(train, test, min(budgets))
    rows = []
    with threadpool_limits(1):
        for repeat in range(repeats):
            order = stratified_draw(labels, total, seed=(seed, repeat))
            current = [budget for budget in budgets if budget < total or repeat == 0]
            for budget, (source, (train, test)) in product(current, sources.items()):
                subset = train.select(order[:budget])
                rows += [(source, p, budget, repeat, probe_accuracy(subset, test, p)) for p in probes]
    return pd.DataFrame(rows, columns=["source", "probe", "labels", "repeat", "balanced_accuracy"])


def _common_labels(sources: Mapping[str, tuple[Embeddings, Embeddings]]) -> NDArray[np.int64]:
    (labels, *others) = [train.labels for train, _ in sources.values()]
    assert all(np.array_equal(labels, other) for other in others), "sources must hold the same images"
    return labels


def label_budgets(total: int, classes: int) -> list[int]:
    """Label budgets 30, 40, … 100, 200, … 1,000, 2,000, …, at least two labels per class, and `total`.

    Raises:
        UserError: `total` is not above the smallest budget.
    """
    steps = [n * 10**power for power in range(1, 7) for n in range(1, 10)]
    steps = [n for n in steps if n >= max(30, 2 * classes)]
    if total <= steps[0]:
        raise UserError(
            f"{total} labelled images of {classes} classes are too few for a label-efficiency curve, which needs more "
            f"than {steps[0]} labels. Label more images, or hold out fewer classes from pretraining (data.unseen)."
        )
    return [*(n for n in steps if n < total), total]


def stratified_draw(labels: NDArray[np.int64], count: int, seed: Any) -> NDArray[np.int64]:
    """Draw rows of a balanced label subset; the first n rows are the draw of size n with the same seed.

    Args:
        labels: [N]; rows with label -1 are never drawn.
        count: Rows to draw; all labelled rows if these are fewer.
        seed: As for `numpy.random.default_rng`.

    Returns:
        Rows int64 [count], without repetition: the same number per class, or all rows of classes with fewer.
    """
    random = np.random.default_rng(seed)
    queues = [list(random.permutation(np.flatnonzero(labels == c))) for c in np.unique(labels[labels >= 0])]
    chosen: list[int] = []
    while len(chosen) < count and any(queues):
        chosen += [queue.pop() for queue in queues if queue]
    return np.array(chosen[:count], dtype=np.int64)
