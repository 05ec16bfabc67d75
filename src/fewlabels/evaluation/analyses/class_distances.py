"""Class distances: mean angles and Euclidean distances within and between classes."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import Modality
from fewlabels.evaluation.context import EvaluationContext
from fewlabels.evaluation.result import MAX_CLASSES, AnalysisResult
from fewlabels.figures.heatmaps import distances_figure
from fewlabels.probing.class_geometry import ClassDistances as Distances
from fewlabels.probing.class_geometry import class_distances


@dataclass(frozen=True)
class ClassDistances:
    """Heat maps of distances between seen classes (test images) and between unseen classes, with silhouettes."""

    title: ClassVar[str] = "Distances between classes"
    section: ClassVar[str] = "Embedding space"
    modality: ClassVar[Modality] = "images"

    def run(self, context: EvaluationContext) -> AnalysisResult:
        """Measure seen and unseen classes, where there are at least two.

        Raises:
            UserError: Neither seen nor unseen images have labels of two classes.
        """
        result, settings = AnalysisResult(), context.settings
        for kind, split in (("seen", "test"), ("unseen", "unseen")):
            part = context.embeddings.select(np.flatnonzero(context.embeddings.splits == split))
            if len(np.unique(part.labels[part.labels >= 0])) < 2:
                continue
            try:
                distances = class_distances(part, max_samples=settings["max_samples"], seed=settings["seed"])
            except UserError as error:  # the other kind of classes may still be measured
                result.left_out.append(f"{kind.capitalize()} classes: {error}")
                continue
            figure = distances_figure(*distances.largest(MAX_CLASSES), n=distances.n, text=distances_text(distances),
                                      synthetic=context.data.synthetic)  # fmt: skip
            result.figures[f"distances_{kind}"] = (figure, f"Distances between {kind} classes")
            result.metrics |= {f"{kind}/silhouette": distances.silhouette, f"{kind}/angle_ratio": distances.ratio}
        if not result.figures and not result.left_out:
            raise UserError(
                "Neither the test images nor unseen classes have labels of 2 classes or more. Label images."
            )
        return result


def distances_text(distances: Distances) -> str:
    """Caption of a heat map of class distances."""
    text = (
        f"images; silhouette {distances.silhouette:.2f}; angle ratio (within / between classes) {distances.ratio:.2f}"
    )
    if len(distances.names) > MAX_CLASSES:
        text += f"; the {MAX_CLASSES} largest of {len(distances.names)} classes"
    return text
