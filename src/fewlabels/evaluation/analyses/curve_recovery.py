"""Curve recovery: whether a 1-D embedding of points orders them along their curve."""

from dataclasses import dataclass
from typing import ClassVar

from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import Modality
from fewlabels.evaluation.context import EvaluationContext
from fewlabels.evaluation.result import AnalysisResult
from fewlabels.figures.spirals import embedding_figure, position_figure


@dataclass(frozen=True)
class CurveRecovery:
    """Rank correlation of the 1-D embedding of held-out points with their true position on the curve."""

    title: ClassVar[str] = "Curve recovery"
    section: ClassVar[str] = "Curve recovery"
    modality: ClassVar[Modality] = "points"

    def run(self, context: EvaluationContext) -> AnalysisResult:
        """Compare the embedding with the true positions, also for the untrained network.

        Raises:
            UserError: The embedding has more than one dimension.
        """
        from scipy.stats import spearmanr

        if (dim := context.embeddings.vectors.shape[1]) != 1:
            raise UserError(f"The embeddings have {dim} dimensions; an order needs one: pretrain with backbone.dim=1.")
        part, data = context.test_embeddings, context.point_data
        position = data.position("test")
        z, z_untrained = part.vectors[:, 0], context.embed(context.untrained, part.index).vectors[:, 0]
        trained, untrained = (abs(float(spearmanr(values, position).statistic)) for values in (z, z_untrained))
        against = position_figure(position, z, data.labels[part.index], data.classes, spearman=trained)
        plane = embedding_figure(data.points("test"), z)
        return AnalysisResult(
            metrics={"test/spearman": trained, "test/spearman_untrained": untrained},
            figures={
                "curve_recovery": (against, "1-D embedding against the true position on the curve"),
                "curve_recovery_plane": (plane, "The points, coloured by their embedding"),
            },
            sentences=[
                f"The 1-D embedding orders {len(part):,} held-out points along the curve with |Spearman| = "
                f"{trained:.4f} (best 1; {context.start} {untrained:.4f})."
            ],
        )
