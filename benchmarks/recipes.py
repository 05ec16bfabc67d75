"""What a pretraining is worth: probes on its frozen embeddings, beside the same network untrained.

    python benchmarks/recipes.py RUN_DIR [--fraction 0.1 | --labels 90] [--split val | test]

With --fraction, a linear probe gets that share of the training labels and is asked about `--split`; recipes are chosen
on val. With --labels, an SVC gets so many labels of one half of the unseen classes and is asked about the other, as in
src/evaluate.py, which draws the whole curve.
"""

import argparse

from fewlabels.evaluation import load
from fewlabels.probes import few_label_accuracy, interval


def main() -> None:
    """Print one line per network."""
    arguments = parse()
    subject = load({"run": arguments.run, "checkpoint": None, "data": []})
    if arguments.labels:
        pool, asked = (subject.everything.index[rows] for rows in (subject.pool, subject.asked))
        labels, probe, where = arguments.labels, "svc", subject.where
    else:
        data = subject.datamodule
        pool, asked = data.labelled(1.0), data.indices(arguments.split)
        labels, probe, where = len(data.labelled(arguments.fraction)), "linear", arguments.split
    for name, network in (("untrained", subject.untrained), ("trained", subject.method.backbone)):
        train, test = subject.embed(network, pool), subject.embed(network, asked)
        scores = 100 * few_label_accuracy(train, test, probe=probe, labels=labels, draws=arguments.draws)
        mean, half = interval(scores)
        print(f"{name:10} {probe} at {labels} labels, balanced accuracy {mean:.1f} ± {half:.1f} % "
              f"({len(scores)} draws, {len(test)} images of {where})")  # fmt: skip


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--labels", type=int)
    parser.add_argument("--split", default="val", choices=("val", "test"))
    parser.add_argument("--draws", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
