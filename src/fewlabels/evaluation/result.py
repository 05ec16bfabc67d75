"""What an analysis is, and what it returns."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from fewlabels.core.interfaces import Modality

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from fewlabels.evaluation.context import EvaluationContext

TRAINED, UNTRAINED, PIXELS = "pretrained", "untrained", "pixels (PCA)"
"""Sources of embeddings, as tables and figures name them."""
SECTIONS = ("Label efficiency", "Curve recovery", "Representation quality", "Embedding space", "Images")
"""Sections of the report in order; a section that an analysis adds comes last."""
MAX_CLASSES = 30
"""A figure shows at most this many classes, the largest ones."""


@dataclass
class AnalysisResult:
    """Results of one analysis, or of several together.

    Attributes:
        metrics: Name to number, for results.json and the loggers.
        figures: File name without suffix to (figure, caption).
        tables: File name without suffix to table.
        sentences: The main results, the most important first.
        left_out: Why parts of the analysis are left out, where the data do not allow them.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    figures: dict[str, tuple["Figure", str]] = field(default_factory=dict)
    tables: dict[str, "pd.DataFrame"] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


class Analysis(Protocol):
    """One analysis: a class in a file of its own in `evaluation/analyses`, and a yaml in `conf/analyses`.

    Attributes:
        title: Name of the analysis in the report.
        section: Section of the report that its figures are in; see `SECTIONS`.
        modality: "images" or "points"; the analysis is skipped for data of the other modality.
    """

    title: str
    section: str
    modality: Modality

    def run(self, context: "EvaluationContext") -> AnalysisResult:
        """Analyse one network.

        Raises:
            UserError: The data do not allow it; the report then lists the analysis and the reason under "Left out".
        """
