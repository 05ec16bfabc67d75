"""Confusion matrix of the rotations that a RotNet predicts."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import Modality
from fewlabels.evaluation.context import EvaluationContext
from fewlabels.evaluation.result import AnalysisResult
from fewlabels.figures.heatmaps import confusion_figure
from fewlabels.methods.rotnet import RotNet
from fewlabels.methods.views import rotations


@dataclass(frozen=True)
class RotationConfusion:
    """Predicted against true rotation of the test images; empty for methods other than RotNet."""

    title: ClassVar[str] = "Rotation confusion matrix"
    section: ClassVar[str] = "Representation quality"
    modality: ClassVar[Modality] = "images"

    def run(self, context: EvaluationContext) -> AnalysisResult:
        """Predict the rotation of every rotated copy of every test image."""
        method = context.method
        if not isinstance(method, RotNet):
            return AnalysisResult()
        if not len(context.data.indices("test")):
            raise UserError("There are no test images. Raise data.test_fraction.")
        predicted = []
        with torch.no_grad():
            for x, _, _ in context.data.loader("test"):
                logits = method.head(method.backbone(method.prepare(rotations(x.to(method.device), method.count))))
                predicted.append(logits.argmax(1).view(method.count, len(x)))
        counts = np.stack([np.bincount(row, minlength=method.count) for row in torch.cat(predicted, 1).cpu().numpy()])
        names = [f"{step * 360 // method.count}°" for step in range(method.count)]
        figure = confusion_figure(names, counts, title="rotation", synthetic=context.data.synthetic)
        return AnalysisResult(figures={"rotations": (figure, "Confusion matrix of rotations, test images")})
