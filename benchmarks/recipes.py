"""Probe accuracy of a run's frozen embeddings, beside the same network untrained.

    python benchmarks/recipes.py RUN_DIR [--fraction 0.1 | --labels 90] [--split val | test]

--fraction: train a linear probe on this fraction of the training labels, test it on --split (val to choose settings).
--labels: train an SVC on this number of labels of one half of the unseen classes, test it on the other half; this is a
point of the curve that src/evaluate.py draws.
"""

import argparse
from typing import Any

from fewlabels.evaluation.context import load_context
from fewlabels.probing.intervals import format_interval, interval
from fewlabels.probing.label_efficiency import few_label_accuracy


def main() -> None:
    """Print one line per network."""
    arguments = parse()
    context = load_context({"run": arguments.run, "checkpoint": None, "data": []})
    if arguments.labels:
        pool, test = (context.embeddings.index[rows] for rows in (context.pool, context.test))
        labels, probe, population = arguments.labels, "svc", context.population
    else:
        data: Any = context.data
        pool, test = data.labelled(1.0), data.indices(arguments.split)
        labels, probe, population = len(data.labelled(arguments.fraction)), "linear", arguments.split
    for name, network in (("untrained", context.untrained), ("trained", context.method.backbone)):
        parts = context.embed(network, pool), context.embed(network, test)
        scores = 100 * few_label_accuracy(
            *parts, probe=probe, labels=labels, repeats=arguments.repeats, draws="balanced"
        )  # a narrower interval of the difference of two recipes
        print(f"{name:10} {probe} probe, {labels} labels: balanced accuracy {format_interval(interval(scores))}% "
              f"({len(scores)} repeats, {len(test)} images of {population})")  # fmt: skip


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run directory")
    parser.add_argument("--fraction", type=float, default=0.1, help="of the training labels (default: 0.1)")
    parser.add_argument("--labels", type=int, help="number of labels of unseen classes, instead of --fraction")
    parser.add_argument("--split", default="val", choices=("val", "test"), help="to test on, with --fraction")
    parser.add_argument("--repeats", type=int, default=5, help="independent draws of labels (default: 5)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
