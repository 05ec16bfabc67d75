"""Representation quality: alignment, uniformity and effective rank, without labels."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import Modality
from fewlabels.evaluation.context import EvaluationContext
from fewlabels.evaluation.result import TRAINED, AnalysisResult
from fewlabels.figures.representation_quality import representation_quality_figure
from fewlabels.probing.embeddings import sample
from fewlabels.probing.representation_quality import assess

CAPTION = "Cosine similarity of views and of images, singular values, and standard deviation by dimension"
RUN_METRICS = ("loss", "loss_chance", "knn_accuracy", "knn_accuracy_untrained")


@dataclass(frozen=True)
class RepresentationQuality:
    """Statistics of the embeddings of two views of validation images, assessed together with the run's metrics.

    Attributes:
        max_images: Images, at most: a random sample of the validation split, or of all splits if it has fewer than two.
    """

    title: ClassVar[str] = "Representation quality"
    section: ClassVar[str] = "Representation quality"
    modality: ClassVar[Modality] = "images"
    max_images: int = 512

    def run(self, context: EvaluationContext) -> AnalysisResult:
        """Embed two views of each image and assess them.

        Raises:
            UserError: There are fewer than two images.
        """
        val, seed = context.data.indices("val"), context.settings["seed"]
        rows = sample(val if len(val) > 1 else context.embeddings.index, self.max_images, seed)
        if len(rows) < 2:
            raise UserError(f"Representation quality needs at least 2 images; there are {len(rows)}. Add images.")
        x = context.image_data.images(rows)
        generator = torch.Generator().manual_seed(seed)
        network, views = context.method.backbone, context.method.views
        with torch.no_grad():
            one, other = (network(network.normalise(views(x, generator))).numpy() for _ in range(2))
        known = {name: context.results[f"val/{name}"] for name in RUN_METRICS if f"val/{name}" in context.results}
        quality = assess(one, other, known)
        figure = representation_quality_figure(one, other, synthetic=context.data.synthetic)
        verdict = f"The representation is {quality.verdict}: {quality.reason}. {quality.advice}"
        untrained = f"These are {context.network_name}: nothing was trained on images of yours."  # so no verdict
        return AnalysisResult(
            {f"representation/{name}": value for name, value in quality.numbers.items() if name not in known},
            {"representation_quality": (figure, CAPTION)},
            sentences=[verdict if context.network_name == TRAINED else untrained],
        )
