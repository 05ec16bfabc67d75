"""What is evaluated, and what was found."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.backbones import Backbone
from fewlabels.embeddings import Embeddings, extract, sample
from fewlabels.projections import principal_components


@dataclass
class Subject:
    """What is evaluated.

    Attributes:
        datamodule: Set up.
        method: Loaded, in eval mode.
        untrained: Its backbone as it began.
        everything: Embeddings of all usable images.
        pool: Rows of `everything` that labels are drawn from.
        asked: Rows of `everything` that are to be told; never fitted on.
        where: What these are, in words.
        settings: Of the evaluation: draws, budgets, probes, max_samples, seed.
        results: Of the run, as in results.json.
        described: What was trained, on what and for how long, by name.
    """

    datamodule: Any
    method: Any
    untrained: Backbone
    everything: Embeddings
    pool: NDArray[np.int64]
    asked: NDArray[np.int64]
    where: str
    settings: dict[str, Any]
    results: dict[str, float]
    described: dict[str, Any]

    @property
    def title(self) -> str:
        """Of the report."""
        return f"What {self.described['method']} learned of {self.datamodule.name}"

    def embed(self, network: Backbone, rows: NDArray[np.int64]) -> Embeddings:
        """Embed rows of the data module's table."""
        return embed_rows(network, self.datamodule, rows)

    def table(self, seed: int, rows: int = 1000, components: int = 50) -> Any:
        """A sample of embeddings, by their leading principal components, as a pandas DataFrame for W&B's projector.

        All embeddings in all dimensions are in embeddings.parquet; W&B takes a minute for as many cells.
        """
        import pandas as pd

        chosen = sample(np.arange(len(self.everything)), rows, seed)
        part = self.everything.select(chosen)
        names = np.array([*part.classes, "unlabelled"])  # label -1 is the last
        frame = pd.DataFrame({"path": part.paths, "split": part.splits, "class": names[part.labels]})
        points, _ = principal_components(part.vectors, components)
        return frame.join(pd.DataFrame(points, columns=[f"component {k + 1}" for k in range(points.shape[1])]))

    @property
    def tested(self) -> Embeddings:
        """What is to be told."""
        return self.everything.select(self.asked)


@dataclass
class Findings:
    """What was found.

    Attributes:
        metrics: Name to number, for results.json and the loggers.
        figures: File name to (matplotlib Figure, what it shows).
        tables: Name to pandas DataFrame.
        sentences: What matters, in plain words, the most important first.
        left_out: Questions that these data cannot answer, and why.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    figures: dict[str, tuple[Any, str]] = field(default_factory=dict)
    tables: dict[str, Any] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def embed_rows(network: Backbone, datamodule: Any, rows: NDArray[np.int64]) -> Embeddings:
    """Embed rows of a data module's table, with all that it knows of them."""
    device = next(network.parameters()).device
    found = extract(lambda x: network(network.normalise(x)), datamodule.loader(rows), network, device)
    splits = np.full(len(datamodule.labels), "", dtype="<U6")
    for split in ("train", "val", "test", "unseen"):
        splits[datamodule.indices(split)] = split
    return found.described([datamodule.paths[row] for row in rows], splits[rows], datamodule.classes)
