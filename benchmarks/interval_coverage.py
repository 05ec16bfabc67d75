"""How often the two intervals of label efficiency hold what they say, by simulation.

The classes are Gaussian clouds of known overlap; the pool and the test set are drawn once, as in an evaluation. Each
repeat draws labels 10 times (or as given) and computes both intervals by the code of evaluation. The true mean
is that of all draws of all repeats; a fresh session is a draw of another repeat, which the interval has not seen.

Command: python benchmarks/interval_coverage.py [--repeats 200] [--draws 10] [--fresh 20]
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
    case: Case, *, budget: int, probe: str, draws: str, repeats: int, count: int, fresh: int
) -> tuple[float, float]:
    """Fractions of the intervals that hold the true mean, and of fresh sessions that the spread holds."""
    source = {"a": (gaussians(case, 2000, 0), gaussians(case, 1000, 1))}
    table = label_efficiency(source, budgets=[budget], probes=[probe], repeats=repeats * count, draws=draws)
    scores = table["balanced_accuracy"].to_numpy().reshape(repeats, count)
    halves = [interval(row) for row in scores]
    means = float(np.mean([abs(mean - scores.mean()) <= half for mean, half in halves]))
    random, held = np.random.default_rng(0), []
    for number, row in enumerate(scores):
        low, high = session_spread(row)
        others = random.choice(np.delete(scores, number, axis=0).ravel(), fresh)
        held.append(np.mean((low <= others) & (others <= high)))
    return means, float(np.mean(held))


def main() -> None:
    """Print a row per case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=200, help="simulated evaluations per case (default: 200)")
    parser.add_argument("--draws", type=int, default=10, help="draws of labels in each (default: 10)")
    parser.add_argument("--fresh", type=int, default=20, help="fresh sessions for each (default: 20)")
    arguments = parser.parse_args()
    print("classes dims budget probe draws: mean's 95% interval holds the mean; the spread holds fresh sessions")
    every = []
    options = (("knn", 30, "random"), ("knn", 30, "balanced"), ("knn", 100, "random"), ("linear", 30, "random"))
    for (probe, budget, draws), case in itertools.product(options, CASES):
        found = coverage(case, budget=budget, probe=probe, draws=draws, repeats=arguments.repeats,
                         count=arguments.draws, fresh=arguments.fresh)  # fmt: skip
        every.append(found)
        print(f"{case.classes} {case.dims} {budget:3d} {probe:6} {draws:8}: {found[0]:.1%} {found[1]:.1%}", flush=True)
    print("mean over all: {:.1%} {:.1%}".format(*np.mean(every, axis=0)))


if __name__ == "__main__":
    main()
