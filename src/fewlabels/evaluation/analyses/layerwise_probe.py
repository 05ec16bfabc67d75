"""Layer-wise probe: accuracy of a linear probe after each block of the backbone."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from fewlabels.core.backbones import Backbone, blocks
from fewlabels.core.interfaces import Modality
from fewlabels.evaluation.context import EvaluationContext
from fewlabels.evaluation.result import AnalysisResult
from fewlabels.figures.layerwise_probe import layerwise_probe_figure
from fewlabels.probing.embeddings import Embeddings, extract, pooled_blocks
from fewlabels.probing.label_efficiency import few_label_accuracy
from fewlabels.probing.probes import check_labels


@dataclass(frozen=True)
class LayerwiseProbe:
    """Balanced accuracy of a linear probe on the spatial mean of every block's output.

    Attributes:
        max_labels: Labels that the probe is trained on, at most.
    """

    title: ClassVar[str] = "Layer-wise linear probe"
    section: ClassVar[str] = "Label efficiency"
    modality: ClassVar[Modality] = "images"
    max_labels: int = 300

    def run(self, context: EvaluationContext) -> AnalysisResult:
        """Probe every block of the trained network, and of it before training.

        Raises:
            UserError: There are too few labels.
        """
        import pandas as pd

        pool, result = context.pool_embeddings, AnalysisResult()
        check_labels(pool, context.test_embeddings)
        labels = min(self.max_labels, int((pool.labels >= 0).sum()))
        rows = []
        for source, network in ((context.network_name, context.method.backbone), (context.start, context.untrained)):
            for name, parts in _block_embeddings(context, network).items():
                scores = few_label_accuracy(
                    *parts, probe="linear", labels=labels, repeats=context.settings["repeats"],
                    seed=context.settings["seed"], draws=context.settings["draws"],
                )  # fmt: skip
                rows += [(source, name, repeat, score) for repeat, score in enumerate(scores)]
                suffix = "_untrained" if source == context.start else ""
                result.metrics[f"layers/{name.replace(' ', '_')}{suffix}"] = float(scores.mean())
        table = pd.DataFrame(rows, columns=["source", "layer", "repeat", "balanced_accuracy"])
        figure = layerwise_probe_figure(
            table, labels=labels, classes=len(np.unique(pool.labels[pool.labels >= 0])), tested=len(context.test),
            draws=context.settings["draws"], synthetic=context.data.synthetic,
        )  # fmt: skip
        result.figures["layers"] = (figure, "Linear probe after every block")
        return result


def _block_embeddings(context: EvaluationContext, network: Backbone) -> dict[str, tuple[Embeddings, Embeddings]]:
    """Pool and test embeddings after each block of a network: the spatial mean of its output."""
    stages = blocks(network)
    embed = pooled_blocks(network, stages)

    def embed_samples(x: Tensor) -> Tensor:
        return embed(network.normalise(x))

    pool, test = (
        extract(embed_samples, context.data.loader(part.index), network, next(network.parameters()).device)
        for part in (context.pool_embeddings, context.test_embeddings)
    )
    edges = np.cumsum(embed.sizes)  # type: ignore[attr-defined]
    return {
        name: (_columns(pool, start, stop), _columns(test, start, stop))
        for name, start, stop in zip(stages, [0, *edges[:-1]], edges, strict=True)
    }


def _columns(part: Embeddings, start: int, stop: int) -> Embeddings:
    return Embeddings(part.vectors[:, start:stop], part.labels, part.index)
