"""Class galleries: the images nearest to and furthest from the centre of each class."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import Modality
from fewlabels.evaluation.context import EvaluationContext
from fewlabels.evaluation.result import MAX_CLASSES, AnalysisResult
from fewlabels.figures.galleries import gallery_figure
from fewlabels.probing.class_geometry import galleries


@dataclass(frozen=True)
class ClassGalleries:
    """Nearest and furthest images of each class, and the nearest images of other classes.

    Attributes:
        max_classes: At most this many classes are shown, those with the most images.
        rows: Classes per figure.
    """

    title: ClassVar[str] = "Nearest and furthest images of each class"
    section: ClassVar[str] = "Images"
    modality: ClassVar[Modality] = "images"
    max_classes: int = MAX_CLASSES
    rows: int = 10

    def run(self, context: EvaluationContext) -> AnalysisResult:
        """Draw galleries of the test images, or of a sample of all images if none is in the test split.

        Raises:
            UserError: None of these images is labelled.
        """
        (part, population), result = context.shown, AnalysisResult()
        if not (part.labels >= 0).any():
            raise UserError("None of the images to show is labelled. Label images, each class in a folder of its own.")
        images = context.image_data.images(part.index).numpy()
        _, sizes = np.unique(part.labels[part.labels >= 0], return_counts=True)
        largest = np.sort(np.argsort(-sizes, kind="stable")[: self.max_classes])
        every = galleries(part)  # in the order of the labels, as `sizes`
        shown = [every[number] for number in largest]
        for start in range(0, len(shown), self.rows):
            figure = gallery_figure(shown[start : start + self.rows], images, part.labels, part.classes,
                                    synthetic=context.data.synthetic)  # fmt: skip
            number = f"_{start // self.rows + 1}" if len(shown) > self.rows else ""
            result.figures[f"gallery{number}"] = (figure, f"Nearest and furthest images, {population}")
        return result
