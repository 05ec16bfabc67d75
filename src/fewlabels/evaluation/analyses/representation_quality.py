"""Representation quality: alignment, uniformity and effective rank, without labels."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from fewlabels.core.interfaces import Modality
from fewlabels.evaluation.context import EvaluationContext
from fewlabels.evaluation.result import AnalysisResult
from fewlabels.figures.representation_quality import representation_quality_figure
from fewlabels.probing.representation_quality import assess

CAPTION = "Cosine similarity of views and of images, singular values, and standard deviation by dimension"
RUN_METRICS = ("loss", "loss_chance", "knn_accuracy", "knn_accuracy_untrained")


@dataclass(frozen=True)
class RepresentationQuality:
    """Statistics of the embeddings of two views of validation images, assessed together with the run's metrics.

    Attributes:
        max_images: Validation images, at most.
    """

    title: ClassVar[str] = "Representation quality"
    section: ClassVar[str] = "Representation quality"
    modality: ClassVar[Modality] = "images"
    max_images: int = 512

    def run(self, context: EvaluationContext) -> AnalysisResult:
        """Embed two views of each image and assess them."""
        x = context.image_data.images(context.data.indices("val")[: self.max_images])
        generator = torch.Generator().manual_seed(context.settings["seed"])
        network, views = context.method.backbone, context.method.views
        with torch.no_grad():
            one, other = (network(network.normalise(views(x, generator))).numpy() for _ in range(2))
        known = {name: context.results[f"val/{name}"] for name in RUN_METRICS if f"val/{name}" in context.results}
        quality = assess(one, other, known)
        figure = representation_quality_figure(one, other, synthetic=context.data.synthetic)
        return AnalysisResult(
            {f"representation/{name}": value for name, value in quality.numbers.items() if name not in known},
            {"representation_quality": (figure, CAPTION)},
            sentences=[f"The representation is {quality.verdict}: {quality.reason}. {quality.advice}"],
        )
