"""Which images to label, and how to go from their labels to all others: accuracy on images not chosen from.

    python src/evaluate.py run=imagenet data=plankton data.root=FOLDER orientations=8 analyses=[]
    python benchmarks/label_selection.py RUN_DIR/embeddings.parquet --groups 3 --classes 5

In every repeat the images of a group of classes are halved at random: labels are chosen from one half, by every
strategy, and the classifiers are tested on the other; the space of neighbours is that of both, as it would be of a
folder. Accuracies are balanced, in %, means over groups, with a 95% interval over repeats.

--rounds N: choose N labels at a time, with the uncertainty of spreading as weights: the strategy "covering, uncertain".
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fewlabels.probing.classification_metrics import balanced_accuracy
from fewlabels.probing.classifiers import predict
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.intervals import format_interval, interval
from fewlabels.probing.propagation import classify, neighbour_graph, spread, uncertainty
from fewlabels.probing.selection import covering, neighbour_space, typical


def main() -> None:
    """Print a line per number of labels, strategy and classifier."""
    arguments = parse()
    embeddings = Embeddings.load(arguments.embeddings)
    scores: dict[tuple[int, str, str], NDArray[np.float64]] = {}
    for place, (part, names) in enumerate(parts(embeddings, arguments)):
        for key, values in group_scores(part, names, arguments).items():
            scores.setdefault(key, np.zeros((arguments.groups, arguments.repeats)))[place] = values
    print(f"{'labels':>6}  {'strategy':20} {'classifier':24} accuracy (%), {arguments.repeats} repeats")
    for (count, strategy, classifier), table in sorted(scores.items()):
        each = ", ".join(f"{mean:.1f}" for mean in 100 * table.mean(1))
        text = format_interval(interval(100 * table.mean(0)))
        print(f"{count:6}  {strategy:20} {classifier:24} {text}   (groups: {each})")


def draw_groups(embeddings: Embeddings, arguments: argparse.Namespace) -> list[NDArray[np.int64]]:
    """Disjoint groups of classes, drawn among those with enough images."""
    counts = np.bincount(embeddings.labels[embeddings.labels >= 0], minlength=len(embeddings.classes))
    left_out = [word for word in arguments.without.split(",") if word]
    large = [k for k, name in enumerate(embeddings.classes)
             if counts[k] >= arguments.min_images and not any(word in name for word in left_out)]  # fmt: skip
    order = np.random.default_rng(arguments.seed).permutation(np.array(large, np.int64))
    return [np.sort(order[i * arguments.classes : (i + 1) * arguments.classes]) for i in range(arguments.groups)]


def parts(embeddings: Embeddings, arguments: argparse.Namespace) -> Iterator[tuple[Embeddings, NDArray[np.int64]]]:
    """Yield the embeddings of each group with its classes, and print what they are."""
    for place, names in enumerate(draw_groups(embeddings, arguments), 1):
        part = embeddings.select(np.isin(embeddings.labels, names).nonzero()[0])
        print(f"Group {place}, {len(part)} images: {', '.join(embeddings.classes[name] for name in names)}")
        yield part, names


def group_scores(
    part: Embeddings, names: NDArray[np.int64], arguments: argparse.Namespace
) -> dict[tuple[int, str, str], list[float]]:
    """Accuracies of every (number of labels, strategy, classifier) in every repeat."""
    labels, points = np.searchsorted(names, part.labels), neighbour_space(part.vectors)
    graph = neighbour_graph(points)
    scores: dict[tuple[int, str, str], list[float]] = {}
    for repeat in range(arguments.repeats):
        order = np.random.default_rng(repeat).permutation(len(part))
        pool, test = np.sort(order[: len(part) // 2]), np.sort(order[len(part) // 2 :])
        chosen = choices(points, graph, labels, pool, max(arguments.budgets), repeat, arguments.rounds)
        for strategy, rows in chosen.items():
            for count in arguments.budgets:
                known = rows(count)
                spreads = classify(spread(graph, known, labels[known], len(names)))[test]
                probe = predict("linear", part.vectors[known], labels[known], part.vectors[test])
                for name, predicted in (("spreading", spreads), ("linear probe", probe)):
                    accuracy = balanced_accuracy(labels[test], predicted)
                    scores.setdefault((count, strategy, name), []).append(accuracy)
    return scores


def choices(
    points: NDArray[np.float32], graph: csr_matrix, labels: NDArray[np.int64], pool: NDArray[np.int64], most: int,
    repeat: int, rounds: int,
) -> dict[str, Callable[[int], NDArray[np.int64]]]:  # fmt: skip
    """Each strategy's function from a number of labels to rows."""
    shuffled = np.random.default_rng(repeat + 1000).permutation(pool)
    covered = pool[covering(points[pool], most)]
    found = {
        "random": lambda count: shuffled[:count],
        "typical": lambda count: pool[typical(points[pool], count, seed=repeat)],
        "covering": lambda count: covered[:count],
    }
    if rounds:
        rows = pool[covering(points[pool], rounds)]
        while len(rows) < most:
            weights = uncertainty(spread(graph, rows, labels[rows], labels.max() + 1)[pool])
            more = covering(points[pool], rounds, np.searchsorted(pool, rows), weights=weights)
            rows = np.concatenate([rows, pool[more]])
        found["covering, uncertain"] = lambda count: rows[:count]
    return found


def parse() -> argparse.Namespace:
    """Read the command line."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--budgets", type=int, nargs="+", default=[10, 20, 30, 90], help="numbers of labels")
    arguments.add_argument("--rounds", type=int, default=0, help="labels in a round")
    return arguments.parse_args()


def parser(text: str) -> argparse.ArgumentParser:
    """The arguments that say which images of which groups of classes are used, and how often."""
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("embeddings", help="an embeddings.parquet that evaluate.py wrote")
    made.add_argument("--groups", type=int, default=1, help="of classes, disjoint (default: 1)")
    made.add_argument("--classes", type=int, default=5, help="in a group (default: 5)")
    made.add_argument("--min-images", type=int, default=100, help="of a class (default: 100)")
    made.add_argument("--without", default="", help="words; classes with one in their name are left out: other,unknown")
    made.add_argument("--repeats", type=int, default=10, help="halves of the images of each group")
    made.add_argument("--seed", type=int, default=0, help="of the groups")
    return made


if __name__ == "__main__":
    main()
