"""Nearest neighbours: query images and the images closest to them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import Modality
from fewlabels.evaluation.context import EvaluationContext
from fewlabels.evaluation.result import AnalysisResult
from fewlabels.figures.galleries import neighbours_figure
from fewlabels.probing.class_geometry import neighbours
from fewlabels.probing.embeddings import sample
from fewlabels.probing.label_efficiency import stratified_draw


@dataclass(frozen=True)
class NearestNeighbours:
    """Some test images and their nearest neighbours among the test images, by angle.

    Attributes:
        queries: Number of query images, drawn evenly from the classes; at random if nothing is labelled.
        count: Number of neighbours of each.
    """

    title: ClassVar[str] = "Nearest neighbours"
    section: ClassVar[str] = "Images"
    modality: ClassVar[Modality] = "images"
    queries: int = 8
    count: int = 10

    def run(self, context: EvaluationContext) -> AnalysisResult:
        """Draw the queries and find their neighbours; without a test split, among a sample of all images.

        Raises:
            UserError: There are fewer than two images.
        """
        (part, population), images = context.shown, context.image_data.images
        if len(part) < 2:
            raise UserError(f"Neighbours need at least 2 images; there are {len(part)}. Add images to data.root.")
        seed = context.settings["seed"]
        drawn = stratified_draw(part.labels, self.queries, seed=seed)
        if not len(drawn):  # nothing is labelled
            drawn = sample(np.arange(len(part)), self.queries, seed)
        queries = part.select(np.sort(drawn))
        rows, angles = neighbours(queries, part, min(self.count, len(part) - 1))
        nearest = images(part.index[rows].ravel()).numpy()
        figure = neighbours_figure(
            images(queries.index).numpy(), queries.labels, nearest.reshape(*rows.shape, *nearest.shape[1:]),
            part.labels[rows], angles, part.classes, n=len(part), synthetic=context.data.synthetic,
        )  # fmt: skip
        caption = f"Query images and their nearest neighbours, {population}"
        return AnalysisResult(figures={"neighbours": (figure, caption)})
