"""Labels per action if whole groups of images are labelled at once, beside one image at a time.

    python src/evaluate.py run=imagenet data=plankton data.root=FOLDER orientations=8 analyses=[]
    python benchmarks/cluster_labelling.py RUN_DIR/embeddings.parquet

A user who knows all classes opens views of the labelling page, selects its first images as long as at least --purity of
them are of one class, and gives them this class: one action. (Looking at the images is not counted.) The views are the
clusters, the largest first; or, after some suggested images were labelled one by one, one action each, what is
guessed to be of each class, the surest first, round after round until nothing more is labelled.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from fewlabels.labelling.session import CLUSTERS
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.propagation import neighbour_graph, spread
from fewlabels.probing.selection import central_first, cluster, covering, neighbour_space

SUGGESTED = (30, 60, 100)
ROUNDS = 3


def main() -> None:
    """Print actions, labels and purity of both ways."""
    arguments = parse()
    embeddings = Embeddings.load(arguments.embeddings)
    embeddings = embeddings.select(np.flatnonzero(embeddings.labels >= 0))
    truth, points = embeddings.labels, neighbour_space(embeddings.vectors)
    print(f"{len(truth):,} images of {len(np.unique(truth))} classes; one image at a time: 1 label per action")
    print(f"{'':34} actions  labels  per action  % of them right")
    given, actions = label_clusters(points, truth, arguments.purity)
    report(f"{CLUSTERS} clusters", given, actions, truth)
    for count in SUGGESTED:
        given, actions = label_guesses(points, truth, count, arguments.purity)
        report(f"{count} suggested, then guesses", given, actions, truth)


def label_clusters(
    points: NDArray[np.float32], truth: NDArray[np.int64], purity: float
) -> tuple[NDArray[np.int64], int]:
    """Label every cluster's pure beginning by the commonest class of its first quarter; labels, -1 is none, actions."""
    given, actions = np.full(len(truth), -1), 0
    clusters = cluster(points, CLUSTERS)
    for number in np.argsort(-np.bincount(clusters)):
        rows = central_first(points, np.flatnonzero(clusters == number))
        name = np.bincount(truth[rows[: max(3, len(rows) // 4)]]).argmax()
        count = pure_beginning(truth[rows] == name, purity)
        given[rows[:count]] = name
        actions += count > 0
    return given, actions


def label_guesses(
    points: NDArray[np.float32], truth: NDArray[np.int64], suggested: int, purity: float
) -> tuple[NDArray[np.int64], int]:
    """Label suggested images, then the pure beginning of the guesses of each class; labels, -1 is none, and actions."""
    given, actions, graph = np.full(len(truth), -1), suggested, neighbour_graph(points)
    first = covering(points, suggested)
    given[first] = truth[first]
    for _ in range(ROUNDS):
        rows = np.flatnonzero(given >= 0)
        probabilities = spread(graph, rows, given[rows], int(truth.max()) + 1)
        guesses, free = probabilities.argmax(1), np.flatnonzero(given < 0)
        for name in np.unique(given[rows]):
            view = free[guesses[free] == name]
            view = view[np.argsort(-probabilities[view, name], kind="stable")]
            count = pure_beginning(truth[view] == name, purity)
            given[view[:count]] = name
            actions += count > 0
    return given, actions


def pure_beginning(right: NDArray[np.bool_], purity: float) -> int:
    """How many of the first images are at least so often right."""
    pure = np.flatnonzero(np.cumsum(right) / np.arange(1, len(right) + 1) >= purity)
    return int(pure[-1]) + 1 if len(pure) else 0


def report(name: str, given: NDArray[np.int64], actions: int, truth: NDArray[np.int64]) -> None:
    """Print a line."""
    labelled = given >= 0
    right = 100 * (given == truth)[labelled].mean()
    print(f"{name:34} {actions:7} {labelled.sum():7,} {labelled.sum() / actions:11.1f} {right:16.1f}")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", help="an embeddings.parquet that evaluate.py wrote")
    parser.add_argument("--purity", type=float, default=0.95, help="of what is labelled at once (default: 0.95)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
