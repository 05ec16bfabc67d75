"""Label efficiency: accuracy of probes against the number of labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.interfaces import Modality
from fewlabels.evaluation.context import EvaluationContext
from fewlabels.evaluation.result import PIXELS, AnalysisResult
from fewlabels.figures.label_efficiency import label_efficiency_figure
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.intervals import MEAN, SESSION, format_interval, format_session, interval, interval_table
from fewlabels.probing.label_efficiency import label_efficiency
from fewlabels.probing.probes import TITLES, check_labels, pixel_components

if TYPE_CHECKING:
    import pandas as pd

SETTINGS = ("budgets", "probes", "repeats", "seed", "draws", "max_labels")
"""Of conf/evaluate.yaml, that `probing.label_efficiency` takes."""
CHUNK = 512
"""Images whose pixels are in memory as floats at a time."""


@dataclass(frozen=True)
class LabelEfficiency:
    """Balanced accuracy of probes on the trained network, on it before training, and on components of the pixels.

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
        settings = {name: context.settings[name] for name in SETTINGS}
        table = label_efficiency(self._sources(context, pool, test), **settings)
        figure = label_efficiency_figure(
            table, classes=len(np.unique(pool.labels[pool.labels >= 0])), tested=len(test),
            population=context.population, draws=settings["draws"], synthetic=context.data.synthetic,
        )  # fmt: skip
        suffixes = {context.network_name: "", PIXELS: "_pixels", context.start: "_untrained"}
        metrics = {
            f"efficiency/{probe}_{labels}{suffixes[str(source)]}": float(rows["balanced_accuracy"].mean())
            for (source, probe, labels), rows in table.groupby(["source", "probe", "labels"])
        }
        asked = max(settings["budgets"] or [int((pool.labels >= 0).sum())])
        tables = {"label_efficiency": table, "label_efficiency_intervals": interval_table(table)}
        caption = "Balanced accuracy against the number of labels"
        return AnalysisResult(
            metrics, {"label_efficiency": (figure, caption)}, tables,
            summary_sentences(
                table, context.population, network=context.network_name, start=context.start, draws=settings["draws"]
            ),
            left_out=capped_text(settings["probes"], asked, settings["max_labels"]),
        )  # fmt: skip

    def _sources(
        self, context: EvaluationContext, pool: Embeddings, test: Embeddings
    ) -> dict[str, tuple[Embeddings, Embeddings]]:
        """Pool and test embeddings of the trained network, of the network before training, and pixel components."""
        train = context.data.indices("train")
        train = train[:: max(1, len(train) // self.pixel_images)]
        read = context.image_data.images

        def chunks(part: Embeddings) -> Iterator[NDArray[np.uint8]]:
            return (read(part.index[i : i + CHUNK]).numpy() for i in range(0, len(part), CHUNK))

        pixels = pixel_components(read(train).numpy(), chunks(pool), chunks(test))
        raw = [Embeddings(x, part.labels, part.index) for x, part in zip(pixels, (pool, test), strict=True)]
        untrained = [context.embed(context.untrained, part.index) for part in (pool, test)]
        return {
            context.network_name: (pool, test), context.start: (untrained[0], untrained[1]), PIXELS: (raw[0], raw[1])
        }  # fmt: skip


def capped_text(probes: Sequence[str], asked: int, max_labels: int | None) -> list[str]:
    """That SVC and kNN were given at most `max_labels`, if more, `asked`, were wanted."""
    capped = [TITLES[probe] for probe in probes if probe != "linear"]
    if not capped or not max_labels or asked <= max_labels:
        return []
    names = " and ".join(capped)
    return [
        f"{names[0].upper()}{names[1:]} with more than {max_labels:,} of {asked:,} labels, to save time: raise "
        "max_labels."
    ]


def summary_sentences(
    table: "pd.DataFrame", population: str, *, network: str, start: str, draws: str = "random"
) -> list[str]:
    """For each probe: accuracy at about 90 labels, the gain over the source `start`, and how many labels suffice."""
    sentences = []
    for probe, rows in table.groupby("probe", sort=False):
        total = int(rows["labels"].max())
        budget = min(rows["labels"].unique(), key=lambda n: (abs(n - 90), n))
        trained, untrained = (_scores(rows, source, budget) for source in (network, start))
        full = float(_scores(rows, network, total).mean())
        enough = next(n for n in sorted(rows["labels"].unique()) if _scores(rows, network, n).mean() >= 0.95 * full)
        accuracy, gain = interval(trained), interval(trained - untrained)
        session = format_session(trained / 100)
        spread = (
            f" ({MEAN} over {len(trained)} {draws} draws of labels; {SESSION} {session}%)" if session != "–" else ""
        )
        sentences.append(
            f"{TITLES[str(probe)].capitalize()}: balanced accuracy {format_interval(accuracy)}% with {budget} "
            f"labels on {population}{spread}, {format_interval(gain, '+')} points over {start}; "
            f"{enough:,} labels reach 95% of the accuracy with {total:,} ({full:.1f}%)."
        )
    return sentences


def _scores(rows: "pd.DataFrame", source: str, labels: int) -> NDArray[np.float64]:
    """Balanced accuracies in %, repeat by repeat."""
    part = rows[(rows["source"] == source) & (rows["labels"] == labels)].sort_values("repeat")
    scores: NDArray[np.float64] = 100 * part["balanced_accuracy"].to_numpy()
    return scores
