from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fewlabels.core.errors import UserError
from fewlabels.evaluation.analyses.curve_recovery import CurveRecovery
from fewlabels.evaluation.context import EvaluationContext
from fewlabels.probing.embeddings import Embeddings

COUNT = 50


@pytest.fixture
def points(monkeypatch):
    """The context of points on a line, of which the last 30 are tested, with given embeddings."""
    position = np.random.default_rng(0).uniform(-1, 1, COUNT).astype(np.float32)
    rows = {"train": np.arange(20), "test": np.arange(20, COUNT)}
    data = SimpleNamespace(
        name="line", modality="points", classes=["A", "B"], labels=(position < 0).astype(np.int64), indices=rows.get,
        position=lambda split: position[rows[split]],
        points=lambda split: np.stack([position, position], 1)[rows[split]],
    )  # fmt: skip

    def make(vectors, untrained=None):
        embeddings = Embeddings(np.asarray(vectors, np.float32), data.labels, np.arange(COUNT))
        other = replace(embeddings, vectors=np.asarray(vectors if untrained is None else untrained, np.float32))
        monkeypatch.setattr(EvaluationContext, "embed", lambda self, network, rows: other.select(rows))
        return EvaluationContext(
            data,
            None,
            "pretrained",
            None,
            "random init",
            embeddings,
            rows["train"],
            rows["test"],
            "held-out points",
            {},
            {},
            {},
            {},
        )

    make.position = position
    return make


@pytest.mark.parametrize("monotonic", [np.exp, lambda x: -(x**3)])
def test_an_embedding_in_the_order_of_the_curve_has_correlation_1(points, monotonic):
    result = CurveRecovery().run(points(monotonic(points.position)[:, None]))
    assert result.metrics["test/spearman"] == pytest.approx(1)
    assert result.sentences == [
        "The 1-D embedding orders 30 held-out points along the curve with |Spearman| = 1.0000 (best 1; random "
        "init 1.0000)."
    ]
    assert result.figures.keys() == {"curve_recovery", "curve_recovery_plane"}


def test_the_untrained_network_is_measured_on_the_same_points(points):
    noise = np.random.default_rng(1).normal(size=(COUNT, 1))
    ranks = [np.argsort(np.argsort(values)) for values in (noise[20:, 0], points.position[20:])]
    expected = abs(np.corrcoef(*ranks)[0, 1])
    metrics = CurveRecovery().run(points(points.position[:, None], noise)).metrics
    assert metrics["test/spearman_untrained"] == pytest.approx(expected)
    assert metrics["test/spearman"] == pytest.approx(1)


def test_embeddings_of_two_dimensions_are_refused(points):
    with pytest.raises(UserError, match=r"The embeddings have 2 dimensions.* pretrain with backbone\.dim=1"):
        CurveRecovery().run(points(np.zeros((COUNT, 2))))
