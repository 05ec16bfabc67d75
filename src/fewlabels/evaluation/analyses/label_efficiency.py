"""Label efficiency: accuracy of probes against the number of labels."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.interfaces import Modality
from fewlabels.evaluation.context import EvaluationContext
from fewlabels.evaluation.result import PIXELS, TRAINED, UNTRAINED, AnalysisResult
from fewlabels.figures.label_efficiency import label_efficiency_figure
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.intervals import format_interval, interval
from fewlabels.probing.label_efficiency import label_efficiency
from fewlabels.probing.probes import TITLES, check_labels, pixel_components

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = {TRAINED: "", UNTRAINED: "_untrained", PIXELS: "_pixels"}


@dataclass(frozen=True)
class LabelEfficiency:
    """Balanced accuracy of probes on the trained network, the untrained one, and principal components of the pixels.

    Attributes:
        pixel_images: The principal components are fitted on an even sample of the training images, of this size up to
            twice this size.
    """

    title: ClassVar[str] = "Label efficiency"
    section: ClassVar[str] = "Label efficiency"
    modality: ClassVar[Modality] = "images"
    pixel_images: int = 3000

    def run(self, context: EvaluationContext) -> AnalysisResult:
        """Probe all sources with the same labels; see `probing.label_efficiency.label_efficiency`.

        Raises:
            UserError: There are too few labels.
        """
        pool, test = context.pool_embeddings, context.test_embeddings
        check_labels(pool, test)  # before the sources are embedded
        settings = {name: context.settings[name] for name in ("budgets", "probes", "repeats", "seed")}
        table = label_efficiency(self._sources(context, pool, test), **settings)
        figure = label_efficiency_figure(
            table, classes=len(np.unique(pool.labels[pool.labels >= 0])), tested=len(test),
            population=context.population, synthetic=context.data.synthetic,
        )  # fmt: skip
        metrics = {
            f"efficiency/{probe}_{labels}{SUFFIXES[str(source)]}": float(rows["balanced_accuracy"].mean())
            for (source, probe, labels), rows in table.groupby(["source", "probe", "labels"])
        }
        caption = "Balanced accuracy against the number of labels"
        return AnalysisResult(
            metrics, {"label_efficiency": (figure, caption)}, {"label_efficiency": table},
            summary_sentences(table, context.population),
        )  # fmt: skip

    def _sources(
        self, context: EvaluationContext, pool: Embeddings, test: Embeddings
    ) -> dict[str, tuple[Embeddings, Embeddings]]:
        """Pool and test embeddings of the trained network, the untrained one, and pixel components."""
        train = context.data.indices("train")
        train = train[:: max(1, len(train) // self.pixel_images)]
        images = (context.image_data.images(rows).numpy() for rows in (train, pool.index, test.index))
        pixels = pixel_components(*images)
        raw = [Embeddings(x, part.labels, part.index) for x, part in zip(pixels, (pool, test), strict=True)]
        untrained = [context.embed(context.untrained, part.index) for part in (pool, test)]
        return {TRAINED: (pool, test), UNTRAINED: (untrained[0], untrained[1]), PIXELS: (raw[0], raw[1])}


def summary_sentences(table: "pd.DataFrame", population: str) -> list[str]:
    """For each probe: accuracy at about 90 labels, the gain over the untrained network, and how many labels suffice."""
    sentences = []
    total = int(table["labels"].max())
    budget = min(table["labels"].unique(), key=lambda n: (abs(n - 90), n))
    for probe, rows in table.groupby("probe", sort=False):
        trained, untrained = (_scores(rows, source, budget) for source in (TRAINED, UNTRAINED))
        mean, half = interval(trained)
        gain, error = interval(trained - untrained)
        full = float(_scores(rows, TRAINED, total).mean())
        enough = next(n for n in sorted(rows["labels"].unique()) if _scores(rows, TRAINED, n).mean() >= 0.95 * full)
        sentences.append(
            f"{TITLES[str(probe)].capitalize()}: balanced accuracy {format_interval(mean, half)}% with {budget} labels "
            f"on {population}, {format_interval(gain, error, '+')} points over the untrained network; {enough:,} "
            f"labels reach 95% of the accuracy with all {total:,} ({full:.1f}%)."
        )
    return sentences


def _scores(rows: "pd.DataFrame", source: str, labels: int) -> NDArray[np.float64]:
    """Balanced accuracies in %, repeat by repeat."""
    part = rows[(rows["source"] == source) & (rows["labels"] == labels)].sort_values("repeat")
    scores: NDArray[np.float64] = 100 * part["balanced_accuracy"].to_numpy()
    return scores
