import numpy as np
import pytest
import torch

from fewlabels.evaluation.analyses.representation_quality import RepresentationQuality
from fewlabels.probing.representation_quality import alignment


def test_metrics_are_those_of_two_views_of_the_validation_images(context, drawn):
    calls = drawn("representation_quality", "representation_quality_figure")["representation_quality_figure"]
    result = RepresentationQuality().run(context)
    (one, other), _ = calls[0]
    assert len(one) == len(other) == (context.embeddings.splits == "val").sum()
    assert not np.allclose(one, other)
    units = [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (one, other)]
    expected = ((units[0] - units[1]) ** 2).sum(1).mean()
    assert result.metrics["representation/alignment"] == pytest.approx(expected, rel=1e-4)
    assert result.metrics.keys() == {
        f"representation/{name}" for name in ("alignment", "uniformity", "effective_rank", "spread")
    }


def test_the_seed_decides_the_views(context, made_up):
    one, same, other = (
        RepresentationQuality().run(made_up(settings=context.settings | {"seed": seed})).metrics for seed in (0, 0, 1)
    )
    assert one == same
    assert one != other


def test_the_number_of_images_is_capped(context, drawn):
    calls = drawn("representation_quality", "representation_quality_figure")["representation_quality_figure"]
    RepresentationQuality(max_images=5).run(context)
    (one, other), _ = calls[0]
    assert len(one) == len(other) == 5
    assert alignment(one, other) > 0


def test_almost_constant_embeddings_are_collapsed(context, monkeypatch):
    monkeypatch.setattr(context.method.backbone, "forward", lambda x: 1 + 1e-3 * torch.rand(len(x), 8))
    (sentence,) = RepresentationQuality().run(context).sentences
    assert "collapsed" in sentence


def test_metrics_of_the_run_decide_the_verdict_and_are_not_repeated(made_up):
    at_chance = made_up(results={"val/loss": 3.4, "val/loss_chance": 3.4})
    result = RepresentationQuality().run(at_chance)
    assert "3.40" in result.sentences[0]
    assert "representation/loss" not in result.metrics


def test_a_network_that_was_not_trained_gets_no_verdict_and_no_advice(context, made_up):
    assert "The representation is" in RepresentationQuality().run(context).sentences[0]
    untrained = RepresentationQuality().run(made_up(network_name="imagenet weights"))
    assert untrained.sentences == ["These are imagenet weights: nothing was trained on images of yours."]
