"""Embedding maps: UMAP, and a pair plot of principal components."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import Modality
from fewlabels.evaluation.context import EvaluationContext
from fewlabels.evaluation.result import AnalysisResult
from fewlabels.figures.embedding_plots import pair_plot_figure, umap_figure
from fewlabels.probing.embeddings import sample
from fewlabels.probing.projections import MIN_SAMPLES, all_equal, principal_components, umap_projection


@dataclass(frozen=True)
class EmbeddingMaps:
    """UMAP with a panel per split, and a pair plot of the leading principal components."""

    title: ClassVar[str] = "Maps of the embedding space"
    section: ClassVar[str] = "Embedding space"
    modality: ClassVar[Modality] = "images"

    def run(self, context: EvaluationContext) -> AnalysisResult:
        """Project a sample of the splits, at most `max_samples` images.

        Raises:
            UserError: There are fewer than `MIN_SAMPLES` images, or all have the same embedding.
        """
        embeddings, limit, seed = context.embeddings, context.settings["max_samples"], context.settings["seed"]
        rows = {split: np.flatnonzero(embeddings.splits == split) for split in ("train", "test", "unseen")}
        shown = embeddings.select(np.concatenate([sample(part, limit // 3, seed) for part in rows.values()]))
        if len(shown) < MIN_SAMPLES:
            raise UserError(
                f"A map needs at least {MIN_SAMPLES} images; there are {len(shown)}. Add images to data.root."
            )
        if all_equal(shown.vectors):
            raise UserError(
                f"All {len(shown)} images have the same embedding: they are identical, or the network has collapsed."
            )
        panels = {split: np.asarray(shown.splits == split) for split, part in rows.items() if len(part)}
        text = f"images drawn from {len(embeddings):,}; UMAP, 15 neighbours, cosine, seed {seed}"
        synthetic = context.data.synthetic
        umap = umap_figure(panels, umap_projection(shown.vectors, seed=seed), shown.labels, shown.classes, text=text,
                           synthetic=synthetic)  # fmt: skip
        components, variance = principal_components(shown.vectors)
        pair_plot = pair_plot_figure(components, variance, shown.labels, shown.classes, synthetic=synthetic)
        return AnalysisResult(
            figures={
                "umap": (umap, "UMAP of the embeddings"),
                "pair_plot": (pair_plot, "Pair plot of the leading principal components"),
            }
        )
