"""Counts of samples whose classes are differently common than where labels come from: errors, and what intervals hold.

    python src/evaluate.py run=imagenet data=plankton data.root=FOLDER orientations=8 analyses=[]
    python benchmarks/count_coverage.py RUN_DIR/embeddings.parquet --groups 3 --classes 5

In every repeat the images of a group of classes are halved at random. Labels are chosen in one half by coverage, with
--random at random; a sample of the other half is drawn whose shares of the classes are drawn anew (uniformly over all
possible shares). Errors are means over classes, in points of a share.

--left-out N: N classes, drawn anew in every repeat, are in the sample, and not where the labels are from. Errors are of
the other classes, and novelty is judged by the area under its ROC curve (1: all images of the classes left out have a
higher one than all others).
"""

import argparse
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from fewlabels.labelling.classifier import UNKNOWN, Classifier
from fewlabels.labelling.counts import class_counts
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.intervals import format_interval, interval
from fewlabels.probing.propagation import neighbour_graph
from fewlabels.probing.selection import covering, neighbour_space
from label_selection import parser, parts


class Sample(NamedTuple):
    """Images to count, after the images that labels are from.

    Attributes:
        vectors: [N, D] embeddings.
        truth: int64 [N] classes, of which the last ones have no labels.
        known: How many images labels are from, at the begin of the rows.
        classes: That have labels.
    """

    vectors: NDArray[np.float32]
    truth: NDArray[np.int64]
    known: int
    classes: int


def main() -> None:
    """Print the errors of predictions counted and of expected numbers, and how often intervals hold the truth."""
    arguments = parse()
    embeddings = Embeddings.load(arguments.embeddings)
    results = []
    for part, names in parts(embeddings, arguments):
        for repeat in range(arguments.repeats):
            draw = np.random.default_rng(repeat)
            sample = draw_sample(part, names, draw, arguments)
            if result := measure(sample, draw, repeat, arguments):
                results.append(result)
    table = pd.DataFrame(results)
    without = f", {arguments.left_out} classes without labels" if arguments.left_out else ""
    print(f"{len(table)} samples of {arguments.images} images, {arguments.labels} labels{without}:")
    for name, values in table.items():
        print(f"{name:60} {format_interval(interval(values.dropna().to_numpy()))}")
    for name in ("error, expected, unknown=null", "error, expected"):
        print(f"{name + ', as a part of raw':60} {table[name].mean() / table['error, raw'].mean():.2f}")


def draw_sample(
    part: Embeddings, names: NDArray[np.int64], draw: np.random.Generator, arguments: argparse.Namespace
) -> Sample:
    """Halve the images, and draw a sample of one half."""
    order = draw.permutation(len(part))
    classes = len(names) - arguments.left_out
    renamed = draw.permutation(len(names)) if arguments.left_out else np.arange(len(names))
    truth = renamed[np.searchsorted(names, part.labels)]
    known, others = order[: len(part) // 2], order[len(part) // 2 :]
    known = known[truth[known] < classes]
    sizes = draw.multinomial(arguments.images, draw.dirichlet(np.ones(len(names))))
    sample = np.concatenate([draw.choice(others[truth[others] == k], size) for k, size in enumerate(sizes)])
    rows = np.concatenate([known, sample])
    return Sample(part.vectors[rows], truth[rows], len(known), classes)


def measure(
    sample: Sample, draw: np.random.Generator, seed: int, arguments: argparse.Namespace
) -> dict[str, float] | None:
    """Errors in points, the part of intervals that hold the truth, and of novelty; None if a class got no label."""
    points, first = neighbour_space(sample.vectors), np.arange(sample.known)
    rows = (
        draw.permutation(first)[: arguments.labels] if arguments.random else covering(points[first], arguments.labels)
    )
    if len(np.unique(sample.truth[rows])) < sample.classes:
        return None
    new = np.arange(sample.known, len(points))
    truth = np.bincount(sample.truth[new], minlength=sample.classes + arguments.left_out)[: sample.classes]
    found = {}
    graph, names = neighbour_graph(points), [str(k) for k in range(sample.classes)]
    for name, share in (("expected, unknown=null", None), ("expected", arguments.unknown)):
        classifier = Classifier(points, graph, rows, sample.truth[rows], sample.classes, share, seed)
        table = class_counts(classifier, {"sample": new}, names, shifted=True)
        table = table[table["class"] != UNKNOWN]
        for column in ("raw", "expected") if share is None else ("expected",):
            error = float(np.abs(table[column] - truth).mean()) / len(new) * 100
            found[f"error, {column if column == 'raw' else name}"] = error
        inside = (table["low"] <= truth) & (truth <= table["high"])
        found[f"% of intervals that hold the truth, {name}"] = 100 * float(inside.mean())
    left = sample.truth[new] >= sample.classes
    found["% of labelled classes called unknown"] = 100 * float(classifier.is_unknown[new][~left].mean())
    if left.any():
        found["% of classes left out called unknown"] = 100 * float(classifier.is_unknown[new][left].mean())
        found["area under the ROC curve of novelty"] = 100 * float(roc_auc_score(left, classifier.novelty[new]))
    return found


def parse() -> argparse.Namespace:
    """Read the command line."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--labels", type=int, default=100, help="numbers of labels (default: 100)")
    arguments.add_argument("--images", type=int, default=300, help="in a sample (default: 300)")
    arguments.add_argument("--random", action="store_true", help="choose labels at random")
    arguments.add_argument("--left-out", type=int, default=0, help="classes without labels (default: 0)")
    arguments.add_argument("--unknown", type=float, default=0.1, help="as in conf/predict.yaml (default: 0.1)")
    arguments.set_defaults(repeats=70)
    return arguments.parse_args()


if __name__ == "__main__":
    main()
