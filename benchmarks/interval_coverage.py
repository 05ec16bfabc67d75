"""How often the two intervals of label efficiency hold what they say, by simulation.

The classes are Gaussian clouds of known overlap; the pool and the test set are drawn once, as in an evaluation. Labels
are drawn 200 x 10 times (or as given), and their mean accuracy is the true one. An evaluation is 10 of these
accuracies, from which the code of evaluation computes both intervals; a fresh session is one more of them. There are
4,000 resampled evaluations (standard error 0.3 points at 95%), because 200 disjoint ones would leave one of 1.5.

Command: python benchmarks/interval_coverage.py [--repeats 200] [--draws 10] [--evaluations 4000] [--fresh 20]
"""

import argparse
import itertools
from typing import NamedTuple

import numpy as np

from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.intervals import interval, session_spread
from fewlabels.probing.label_efficiency import label_efficiency


class Case(NamedTuple):
    """Classes, dimensions, distance of the centres in standard deviations, and shares of the classes."""

    classes: int
    dims: int
    distance: float
    shares: tuple[float, ...]


CASES = (
    Case(2, 2, 2.0, (0.5, 0.5)),
    Case(3, 4, 2.5, (0.4, 0.3, 0.3)),
    Case(3, 8, 3.0, (0.6, 0.3, 0.1)),
)


def gaussians(case: Case, n: int, seed: int) -> Embeddings:
    """Draw labels by the shares, and vectors around orthogonal or opposite centres."""
    random = np.random.default_rng(seed)
    labels = random.choice(case.classes, n, p=case.shares)
    centres = np.eye(case.classes, case.dims) * case.distance / np.sqrt(2)
    vectors = (centres[labels] + random.normal(size=(n, case.dims))).astype(np.float32)
    return Embeddings(vectors, labels.astype(np.int64), np.arange(n))


def coverage(
    case: Case, *, budget: int, probe: str, draws: str, repeats: int, count: int, evaluations: int, fresh: int
) -> tuple[float, float]:
    """Fractions of the intervals that hold the true mean, and of fresh sessions that the spread holds."""
    source = {"a": (gaussians(case, 2000, 0), gaussians(case, 1000, 1))}
    table = label_efficiency(source, budgets=[budget], probes=[probe], repeats=repeats * count, draws=draws)
    scores, random = table["balanced_accuracy"].to_numpy(), np.random.default_rng(0)
    means, held = [], []
    for row in random.choice(scores, (evaluations, count)):
        _, low, high = interval(row)
        means.append(low <= scores.mean() <= high)
        low, high = session_spread(row)
        others = random.choice(scores, fresh)
        held.append(np.mean((low <= others) & (others <= high)))
    return float(np.mean(means)), float(np.mean(held))


def main() -> None:
    """Print a row per case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--repeats", type=int, default=200, help="labels are drawn so many times --draws (default: 200)"
    )
    parser.add_argument("--draws", type=int, default=10, help="draws of labels in an evaluation (default: 10)")
    parser.add_argument("--evaluations", type=int, default=4000, help="resampled evaluations (default: 4000)")
    parser.add_argument("--fresh", type=int, default=20, help="fresh sessions for each (default: 20)")
    arguments = parser.parse_args()
    print("classes dims budget probe draws: mean's 95% interval holds the mean; the spread holds fresh sessions")
    every = []
    options = (("knn", 30, "random"), ("knn", 30, "balanced"), ("knn", 100, "random"), ("linear", 30, "random"))
    for (probe, budget, draws), case in itertools.product(options, CASES):
        found = coverage(case, budget=budget, probe=probe, draws=draws, repeats=arguments.repeats,
                         count=arguments.draws, evaluations=arguments.evaluations, fresh=arguments.fresh)  # fmt: skip
        every.append(found)
        print(f"{case.classes} {case.dims} {budget:3d} {probe:6} {draws:8}: {found[0]:.1%} {found[1]:.1%}", flush=True)
    print("mean over all: {:.1%} {:.1%}".format(*np.mean(every, axis=0)))


if __name__ == "__main__":
    main()
