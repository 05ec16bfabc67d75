"""Label efficiency: balanced accuracy of probes against the number of labels."""

import logging
import time
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.errors import UserError
from fewlabels.probing.classifiers import PROBES, probe_cost, probe_scores
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.probes import check_probe, labelled

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
DRAWS = ("random", "balanced")
"""Ways to draw labels. "random": uniform over the pool, which is what labelling images as they come gives, since nobody
can balance classes before labelling; a class without a label is never predicted. "balanced": as many labels of each
class, or all of classes with fewer; it answers how well the classes are separated."""
Tasks = Sequence[tuple[int, int, list[str]]]
"""(repeat, budget, probes that are given so many labels) of all measurements."""
MAX_LABELS = 2000
"""Labels that SVC and kNN are given at most: their cost grows with labels times test images."""
SAID_ABOVE, PARALLEL_ABOVE = 60.0, 30.0
"""Seconds of expected work from which an estimate is logged, and from which several processes share it."""


def few_label_accuracy(
    train: Embeddings,
    test: Embeddings,
    *,
    probe: str,
    labels: int,
    repeats: int = 10,
    seed: int = 0,
    draws: str = "random",
) -> NDArray[np.float64]:
    """Balanced accuracy of a probe trained on few labels, for several draws of labels.

    Args:
        train: Embeddings that labels are drawn from.
        test: Embeddings to test on; nothing is fitted to them.
        probe: "linear", "svc" or "knn"; see `classifiers.predict`.
        labels: Size of a draw.
        repeats: Number of draws.
        seed: Seed of the draws.
        draws: As in `label_efficiency`.

    Returns:
        Fractions [repeats].

    Raises:
        UserError: Unknown probe, fewer labels than a draw needs, fewer than two classes, no test labels, or embeddings
            that are not finite.
    """
    check_probe(train, test, labels, balanced=_balanced(draws))
    test = labelled(test)
    orders = [draw(train.labels, labels, seed=(seed, repeat), draws=draws) for repeat in range(repeats)]
    source = [(train.vectors, test.vectors)]
    return np.ravel(probe_scores(source, train.labels, test.labels, [(rows, [probe]) for rows in orders]))


def label_efficiency(
    sources: Mapping[str, tuple[Embeddings, Embeddings]],
    *,
    budgets: Sequence[int] | None = None,
    probes: Sequence[str] = PROBES,
    repeats: int = 10,
    seed: int = 0,
    draws: str = "random",
    max_labels: int | None = MAX_LABELS,
    n_jobs: int | None = None,
) -> "pd.DataFrame":
    """Balanced accuracy against the number of labels, for several embeddings of the same images.

    Args:
        sources: Name to (embeddings to draw labels from, embeddings to test on), all of the same images in one order.
        budgets: Numbers of labels; None: `label_budgets`.
        probes: Some of `PROBES`.
        repeats: Draws of labels, equal for all sources and nested across budgets; 1 for a budget of all labels.
        seed: Seed of the draws.
        draws: One of `DRAWS`.
        max_labels: "svc" and "knn" are given at most this many labels, larger budgets are lowered; None: no limit.
        n_jobs: Processes that share the work; None: one, or as many as there are granted cores if more than
            `PARALLEL_ABOVE` seconds of work are expected. The results do not depend on it.

    Returns:
        Tidy table: source, probe, labels, repeat, balanced_accuracy (a fraction).

    Raises:
        UserError: As in `few_label_accuracy` and, without `budgets`, in `label_budgets`.
    """
    labels = _common_labels(sources)
    total = int((labels >= 0).sum())
    budgets = label_budgets(total, len(np.unique(labels[labels >= 0]))) if budgets is None else budgets
    for train, test in sources.values():
        check_probe(train, test, min(budgets), balanced=_balanced(draws))
    tasks = _tasks(budgets, probes, repeats, total=total, max_labels=max_labels)
    orders = [draw(labels, total, seed=(seed, repeat), draws=draws) for repeat in range(repeats)]
    return _measure(sources, tasks, orders, n_jobs)


def _measure(
    sources: Mapping[str, tuple[Embeddings, Embeddings]], tasks: Tasks, orders: Sequence[Any], n_jobs: int | None
) -> "pd.DataFrame":
    """Carry out the tasks; the table of `label_efficiency`."""
    import pandas as pd

    train, test = next(iter(sources.values()))
    arrays = [(train.vectors, labelled(test).vectors) for train, test in sources.values()]
    labels, tested = train.labels, labelled(test).labels
    given = [(orders[repeat][:budget], chosen) for repeat, budget, chosen in tasks]
    rows = [
        (source, probe, budget, repeat, score)
        for (repeat, budget, chosen), scores in zip(tasks, _run(arrays, labels, tested, given, n_jobs), strict=True)
        for (source, probe), score in zip(product(sources, chosen), scores, strict=True)
    ]
    return pd.DataFrame(rows, columns=["source", "probe", "labels", "repeat", "balanced_accuracy"])


def _tasks(budgets: Sequence[int], probes: Sequence[str], repeats: int, *, total: int, max_labels: int | None) -> Tasks:
    """All measurements; one repeat for a budget of `total`."""
    highest = {probe: total if probe == "linear" else max_labels or total for probe in probes}
    capped = {probe: {min(budget, highest[probe]) for budget in budgets} for probe in probes}
    return [
        (repeat, budget, [probe for probe in probes if budget in capped[probe]])
        for repeat in range(repeats)
        for budget in sorted(set().union(*capped.values())) if budget < total or repeat == 0
    ]  # fmt: skip


def _run(
    arrays: Sequence[tuple[NDArray[Any], NDArray[Any]]],
    labels: NDArray[np.int64],
    tested: NDArray[np.int64],
    tasks: Sequence[tuple[NDArray[np.int64], Sequence[str]]],
    n_jobs: int | None,
) -> list[list[float]]:
    """As `probe_scores`, in processes if that pays; log an estimate of over `SAID_ABOVE` s.

    The estimate is `probe_cost`, corrected by the time that one task of few labels takes on this machine.
    """
    import joblib
    import sklearn.linear_model  # else the time of the first task, which the estimate uses, includes the imports
    import sklearn.neighbors
    import sklearn.svm  # noqa: F401

    dims, classes = [pool.shape[1] for pool, _ in arrays], len(np.unique(labels[labels >= 0]))
    expected = [
        sum(probe_cost(probe, len(rows), dim, classes, len(tested)) for dim in dims for probe in probes)
        for rows, probes in tasks
    ]
    first = max((k for k, (rows, _) in enumerate(tasks) if len(rows) <= 300), default=0)
    start = time.perf_counter()
    scores = dict(zip([first], probe_scores(arrays, labels, tested, [tasks[first]]), strict=True))
    seconds = (sum(expected) - expected[first]) / expected[first] * (time.perf_counter() - start)
    cores = joblib.cpu_count()  # that are granted, which may be fewer than the machine has
    jobs = n_jobs or (cores if seconds > PARALLEL_ABOVE else 1)
    if seconds > SAID_ABOVE:
        minutes = round(seconds / min(jobs, cores) / 60)
        text = f"{minutes} minutes" if minutes > 1 else "a minute"
        log.info("Label efficiency: %d draws of labels take about %s on %d of %d cores.", len(tasks), text, jobs, cores)
    others = sorted((k for k in range(len(tasks)) if k != first), key=lambda k: -expected[k])
    parts = [part for start in range(8 * jobs) if (part := others[start :: 8 * jobs])]  # of about equal work
    if jobs == 1:
        parts = [others]
    work = (joblib.delayed(probe_scores)(arrays, labels, tested, [tasks[k] for k in part]) for part in parts)
    for part, found in zip(parts, joblib.Parallel(jobs)(work), strict=True):
        scores |= dict(zip(part, found, strict=True))
    return [scores[k] for k in range(len(tasks))]


def _common_labels(sources: Mapping[str, tuple[Embeddings, Embeddings]]) -> NDArray[np.int64]:
    (labels, *others) = [train.labels for train, _ in sources.values()]
    assert all(np.array_equal(labels, other) for other in others), "sources must hold the same images"
    return labels


def _balanced(draws: str) -> bool:
    if draws not in DRAWS:
        raise UserError(f"draws={draws} is unknown. Choose from {', '.join(DRAWS)}.")
    return draws == "balanced"


def draw(labels: NDArray[np.int64], count: int, *, seed: Any, draws: str) -> NDArray[np.int64]:
    """Draw rows of a label subset; the first n rows are the draw of size n with the same seed.

    Args:
        labels: [N]; rows with label -1 are never drawn.
        count: Rows to draw; all labelled rows if these are fewer.
        seed: As for `numpy.random.default_rng`.
        draws: "random", uniform over the labelled rows, or "balanced", see `stratified_draw`.
    """
    if _balanced(draws):
        return stratified_draw(labels, count, seed)
    return np.random.default_rng(seed).permutation(np.flatnonzero(labels >= 0))[:count]


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
