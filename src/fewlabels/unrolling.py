"""What an evaluation asks of a network that was trained on points along a curve."""

from fewlabels.errors import UserError
from fewlabels.findings import Findings, Subject


def unrolled(subject: Subject, findings: Findings) -> None:
    """Does the one-dimensional embedding of held-out points run along the curve?"""
    from scipy.stats import spearmanr

    from fewlabels.figures.spirals import embedding_figure, position_figure

    if (dim := subject.everything.vectors.shape[1]) != 1:
        raise UserError(f"The network embeds in {dim} dimensions; backbone.dim=1 would give an order.")
    part, data = subject.tested, subject.datamodule
    position = data.position("test")
    before = subject.embed(subject.untrained, part.index).vectors[:, 0]
    now, then = (abs(float(spearmanr(z, position).statistic)) for z in (part.vectors[:, 0], before))
    findings.metrics |= {"test/spearman": now, "test/spearman_untrained": then}
    figure = position_figure(position, part.vectors[:, 0], data.labels[part.index], data.classes, spearman=now)
    findings.figures["unrolled"] = (figure, "The embedding against the place on the curve")
    findings.figures["unrolled_plane"] = (
        embedding_figure(data.points("test"), part.vectors[:, 0]),
        "The embedding as a colour",
    )
    findings.sentences.append(
        f"The embedding orders {len(part):,} held-out points as the curve does with a rank correlation of {now:.4f} "
        f"(|Spearman|, 1 is perfect; the untrained network {then:.4f})."
    )
