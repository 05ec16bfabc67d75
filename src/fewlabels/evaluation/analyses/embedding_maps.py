"""Embedding maps: UMAP, and a pair plot of principal components."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import Modality
from fewlabels.evaluation.context import EvaluationContext
from fewlabels.evaluation.result import AnalysisResult
from fewlabels.figures.embedding_plots import HoverImages, add_hover, pair_plot_figure, umap_figure
from fewlabels.probing.embeddings import Embeddings, sample
from fewlabels.probing.projections import MIN_SAMPLES, all_equal, principal_components, umap_projection

MAX_HOVER = 800
"""Points of the map that show their image in the report: about a megabyte."""


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
        synthetic, plane = context.data.synthetic, umap_projection(shown.vectors, seed=seed)
        umap = umap_figure(panels, plane, shown.labels, shown.classes, text=text, synthetic=synthetic)
        add_hover(umap, hover_images(context, shown, plane, list(panels)))
        components, variance = principal_components(shown.vectors)
        pair_plot = pair_plot_figure(components, variance, shown.labels, shown.classes, synthetic=synthetic)
        return AnalysisResult(
            figures={
                "umap": (umap, "UMAP of the embeddings"),
                "pair_plot": (pair_plot, "Pair plot of the leading principal components"),
            }
        )


def hover_images(
    context: EvaluationContext, shown: Embeddings, plane: NDArray[Any], panels: Sequence[str]
) -> HoverImages:
    """Images of at most `MAX_HOVER` of the points, drawn at random, each in the panel of its split."""
    rows = sample(np.arange(len(shown)), MAX_HOVER, context.settings["seed"])
    part = shown.select(rows)
    names = [f": {part.classes[label]}" if label >= 0 else "" for label in part.labels]
    return HoverImages(
        axes=np.array([panels.index(split) for split in part.splits]), points=plane[rows],
        images=context.image_data.images(part.index).numpy(),
        texts=[f"{path}{name}" for path, name in zip(part.paths, names, strict=True)],
    )  # fmt: skip
