"""What an analysis is, and what it returns; figures as files."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fewlabels.core.interfaces import Modality

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from fewlabels.evaluation.context import EvaluationContext

log = logging.getLogger(__name__)
TRAINED, PIXELS = "pretrained", "pixels (PCA)"
"""Sources of embeddings, as tables and figures name them, beside the network before training, `context.start`."""
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
        errors: Of analyses that failed for another reason, which is a bug.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    figures: dict[str, tuple["Figure", str]] = field(default_factory=dict)
    tables: dict[str, "pd.DataFrame"] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)


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


def save_figures(figures: "Mapping[str, tuple[Figure, str]]", directory: Path) -> dict[str, str]:
    """Save figures as `figures/<name>.png`; call it when the results are written.

    Returns:
        Figures that could not be drawn, and why; this is logged as an error, with its traceback.
    """
    (directory / "figures").mkdir(parents=True, exist_ok=True)
    failures = {}
    for name, (figure, _) in figures.items():
        try:
            figure.savefig(directory / "figures" / f"{name}.png", dpi=150)
            figure.set_layout_engine("none")  # keep the layout, which takes most of the time, for the report
        except Exception as error:  # one figure must not cost the others
            log.exception("figures/%s.png could not be drawn; the results are not affected.", name)
            failures[name] = f"{type(error).__name__}: {error}"
    return failures
