"""What a pretraining is worth: probes on its frozen embeddings, beside the same network untrained.

    python benchmarks/recipes.py RUN_DIR [--fraction 0.1 | --labels 90] [--split val | test | unseen]

With --fraction, a linear probe gets that share of the training labels and is asked about `--split`. With --labels, the
unseen classes are halved by hash: an SVC gets so many labels of the one half and is asked about the other.
"""

import argparse
import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from scipy.stats import t

from fewlabels import load_backbone
from fewlabels.data import splits
from fewlabels.embeddings import Embeddings, extract
from fewlabels.experiment import make
from fewlabels.probes import few_label_accuracy


def main() -> None:
    """Print one line per network."""
    arguments = parse()
    config: Any = OmegaConf.to_container(OmegaConf.load(Path(arguments.run) / "config.yaml"), resolve=True)
    datamodule = make(config["data"])
    datamodule.setup()
    trained = load_backbone(arguments.run)
    untrained = fresh(trained, config)
    for name, network in (("untrained", untrained), ("trained", trained)):
        train, test, labels, probe = parts(network, datamodule, arguments)
        scores = 100 * few_label_accuracy(train, test, probe=probe, labels=labels, draws=arguments.draws)
        half = t.ppf(0.975, len(scores) - 1) * scores.std(ddof=1) / np.sqrt(len(scores))
        print(f"{name:10} {probe} at {labels} labels, balanced accuracy {scores.mean():.1f} ± {half:.1f} % "
              f"({len(scores)} draws, {len(test.labels)} images of {arguments.split})")  # fmt: skip


def fresh(trained: Any, config: dict[str, Any]) -> Any:
    """The network as the run found it: same seed, same first weights."""
    from lightning.pytorch import seed_everything

    seed_everything(config["seed"], verbose=False)
    image = {name: getattr(trained, name) for name in ("channels", "size", "mean", "std")}
    return copy.deepcopy(make(config["backbone"], **image)).eval()


def parts(network: Any, datamodule: Any, arguments: argparse.Namespace) -> tuple[Embeddings, Embeddings, int, str]:
    """Where labels come from, what is asked about, how many labels, and the probe."""

    def embedded(rows: np.ndarray) -> Embeddings:
        with torch.no_grad():
            return extract(lambda x: network(network.normalise(x)), datamodule.loader(rows), network)

    if arguments.labels is None:
        train, test = embedded(datamodule.labelled(1.0)), embedded(datamodule.indices(arguments.split))
        return train, test, len(datamodule.labelled(arguments.fraction)), "linear"
    rows = datamodule.indices("unseen")
    half = splits.assign([datamodule.paths[row] for row in rows], 0.0, 0.5) == "test"
    return embedded(rows[~half]), embedded(rows[half]), arguments.labels, "svc"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--labels", type=int)
    parser.add_argument("--split", default="val")
    parser.add_argument("--draws", type=int, default=5)
    arguments = parser.parse_args()
    arguments.split = "unseen" if arguments.labels else arguments.split
    return arguments


if __name__ == "__main__":
    main()
