"""Counts of samples whose classes are differently common than where labels come from: errors, and what intervals hold.

    python src/evaluate.py run=imagenet data=plankton data.root=FOLDER orientations=8 analyses=[]
    python benchmarks/count_coverage.py RUN_DIR/embeddings.parquet --groups 3 --classes 5

In every repeat the images of a group of classes are halved at random. Labels are chosen in one half by coverage, with
--random at random; a sample of the other half is drawn whose shares of the classes are drawn anew (uniformly over all
possible shares). Errors are means over classes, in points of a share.
"""

import argparse

import numpy as np

from fewlabels.labelling.classifier import Classifier
from fewlabels.labelling.counts import class_counts
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.intervals import format_interval, interval
from fewlabels.probing.selection import covering, neighbour_space
from label_selection import draw_groups, parser


def main() -> None:
    """Print the errors of predictions counted and of expected numbers, and how often intervals hold the truth."""
    arguments = parse()
    embeddings = Embeddings.load(arguments.embeddings)
    results = []
    for place, names in enumerate(draw_groups(embeddings, arguments)):
        part = embeddings.select(np.isin(embeddings.labels, names).nonzero()[0])
        print(f"Group {place + 1}, {len(part)} images: {', '.join(embeddings.classes[name] for name in names)}")
        results += [one_sample(part, names, repeat, arguments) for repeat in range(arguments.repeats)]
    table = np.array([result for result in results if result is not None])
    raw, expected, held = table.T
    print(f"{len(table)} samples of {arguments.images} images, {arguments.labels} labels; mean error in points:")
    print(f"predictions counted: {format_interval(interval(raw))}")
    print(f"expected:            {format_interval(interval(expected))}, {expected.mean() / raw.mean():.2f} of that")
    print(f"95% intervals that hold the true share: {100 * held.mean():.1f}%")


def one_sample(
    part: Embeddings, names: np.ndarray, repeat: int, arguments: argparse.Namespace
) -> tuple[float, float, float] | None:
    """Error of raw and of expected counts, and the part of intervals that hold the truth; None without all classes."""
    draw = np.random.default_rng(repeat)
    truth = np.searchsorted(names, part.labels)
    order = draw.permutation(len(part))
    known, others = order[: len(part) // 2], order[len(part) // 2 :]
    sizes = draw.multinomial(arguments.images, draw.dirichlet(np.ones(len(names))))
    sample = np.concatenate([draw.choice(others[truth[others] == k], size) for k, size in enumerate(sizes)])
    rows = np.concatenate([known, sample])
    points = neighbour_space(part.vectors[rows])
    first = np.arange(len(known))
    chosen = (
        draw.permutation(first)[: arguments.labels] if arguments.random else covering(points[first], arguments.labels)
    )
    labels = truth[known[chosen]]
    if len(np.unique(labels)) < len(names):
        return None
    classifier = Classifier(points, chosen, labels, len(names), repeat)
    where = {"sample": np.arange(len(known), len(rows))}
    table = class_counts(classifier, where, [str(name) for name in names], shifted=True)
    inside = (table["low"] <= sizes) & (sizes <= table["high"])
    errors = [float(np.abs(table[key] - sizes).mean()) / arguments.images * 100 for key in ("raw", "expected")]
    return errors[0], errors[1], float(inside.mean())


def parse() -> argparse.Namespace:
    """Read the command line."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--labels", type=int, default=100, help="numbers of labels (default: 100)")
    arguments.add_argument("--images", type=int, default=300, help="in a sample (default: 300)")
    arguments.add_argument("--random", action="store_true", help="choose labels at random")
    arguments.set_defaults(repeats=70)
    return arguments.parse_args()


if __name__ == "__main__":
    main()
