"""What labels tell about themselves, compared with the truth: the accuracy of guesses, and the gain by more labels.

    python src/evaluate.py run=imagenet data=plankton data.root=FOLDER orientations=8 analyses=[]
    python benchmarks/learning_estimates.py RUN_DIR/embeddings.parquet --groups 3 --classes 5

In every repeat a random nine tenths of the images of a group of classes are a folder. Labels are chosen 10 at a time as
the labelling page suggests them, with --random at random. After 20, 50, 100 and 150 of them the estimates are compared
with the accuracy on the images that are not labelled, and with that after 50 more labels.
"""

import argparse

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fewlabels.labelling.classifier import Classifier
from fewlabels.labelling.learning import MORE, STOP, learning
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.propagation import classify, neighbour_graph, spread, uncertainty
from fewlabels.probing.selection import covering, neighbour_space
from label_selection import parser, parts

ROUND = 10
BUDGETS = (20, 50, 100, 150)


def main() -> None:
    """Print a line per number of labels, all values in % or points."""
    arguments = parse()
    embeddings = Embeddings.load(arguments.embeddings)
    results = []
    for part, names in parts(embeddings, arguments):
        for repeat in range(arguments.repeats):
            rows = np.random.default_rng(repeat).permutation(len(part))[: 9 * len(part) // 10]
            results += compare(part.select(rows), names, repeat, arguments)
    table = pd.DataFrame(results).groupby("labels")
    print(table.mean().round(1).to_string())
    print("number of stops:", table["stop"].sum().div(100).to_dict(), "of", table.size().to_dict())


def compare(
    part: Embeddings, names: NDArray[np.int64], repeat: int, arguments: argparse.Namespace
) -> list[dict[str, float]]:
    """Estimates and the truth, at each number of labels."""
    truth, points = np.searchsorted(names, part.labels), neighbour_space(part.vectors)
    graph = neighbour_graph(points)
    rows = choose(points, graph, truth, max(BUDGETS) + MORE, repeat, at_random=arguments.random)
    results = []
    for count in BUDGETS:
        classifier = Classifier(points, graph, rows[:count], truth[rows[:count]], len(names), seed=repeat)
        found = learning(classifier)
        if found is None:
            continue
        reached, later = (accuracy(graph, rows[:n], truth, len(names)) for n in (count, count + MORE))
        true_gain, mean, interval = later - reached, found.accuracy.mean, found.accuracy
        result = {"labels": count, "true": reached, "estimated": mean, "low": interval.low, "high": interval.high,
                  "held": float(interval.low <= reached <= interval.high), "true gain": true_gain}  # fmt: skip
        if gain := found.gain:
            result |= {"estimated gain": gain.mean, "gain low": gain.low, "gain high": gain.high, "gain held":
                       float(gain.low <= true_gain <= gain.high), "stop": float(gain.high < STOP)}  # fmt: skip
            result |= {"true gain after stop": true_gain if gain.high < STOP else np.nan}
        results.append({key: value if key == "labels" else 100 * value for key, value in result.items()})
    return results


def choose(
    points: NDArray[np.float32], graph: csr_matrix, truth: NDArray[np.int64], count: int, seed: int, *, at_random: bool
) -> NDArray[np.int64]:
    """Rows in the order in which they are labelled."""
    if at_random:
        return np.random.default_rng(seed).permutation(len(points))[:count]
    rows = covering(points, ROUND)
    while len(rows) < count:
        doubt = uncertainty(spread(graph, rows, truth[rows], int(truth.max()) + 1))
        rows = np.concatenate([rows, covering(points, ROUND, rows, weights=doubt)])
    return rows


def accuracy(graph: csr_matrix, rows: NDArray[np.int64], truth: NDArray[np.int64], classes: int) -> float:
    """Of the images that are not labelled."""
    guessed = classify(spread(graph, rows, truth[rows], classes))
    return float(np.delete(guessed == truth, rows).mean())


def parse() -> argparse.Namespace:
    """Read the command line."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--random", action="store_true", help="choose labels at random")
    return arguments.parse_args()


if __name__ == "__main__":
    main()
