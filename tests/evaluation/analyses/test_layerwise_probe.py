import numpy as np
import pytest
import torch

from fewlabels.core.backbones import blocks
from fewlabels.evaluation.analyses.layerwise_probe import LayerwiseProbe
from fewlabels.evaluation.result import TRAINED
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.label_efficiency import few_label_accuracy


def output_of(backbone, block, x):
    """Spatial mean of a block's output, by running the layers up to it."""
    with torch.no_grad():
        x = (x / 255 - 0.5) / 0.25
        for layer in backbone.body.features:
            x = layer(x)
            if layer is block:
                return x.mean((2, 3)).numpy()
    raise AssertionError


def test_metrics_are_accuracies_on_the_output_of_each_block(context, made_up):
    metrics = LayerwiseProbe(max_labels=12).run(context).metrics
    for suffix, network in (("", context.method.backbone), ("_untrained", context.untrained)):
        stages = blocks(network)
        assert {f"layers/{name.replace(' ', '_')}{suffix}" for name in stages} <= metrics.keys()
        name = list(stages)[3]
        parts = (
            Embeddings(output_of(network, stages[name], context.data.images(part.index)), part.labels, part.index)
            for part in (context.pool_embeddings, context.test_embeddings)
        )
        expected = few_label_accuracy(*parts, probe="linear", labels=12, repeats=2, seed=0).mean()
        assert metrics[f"layers/{name.replace(' ', '_')}{suffix}"] == pytest.approx(expected)


@pytest.mark.parametrize(("max_labels", "labels"), [(300, 20), (12, 12)])
def test_at_most_all_labels_of_the_pool_are_used(context, drawn, max_labels, labels):
    calls = drawn("layerwise_probe", "layerwise_probe_figure")["layerwise_probe_figure"]
    LayerwiseProbe(max_labels=max_labels).run(context)
    ((table,), options) = calls[0]
    assert options["labels"] == labels
    assert options["classes"] == 2
    assert options["tested"] == 28
    assert set(table["source"]) == {TRAINED, context.start}
    assert set(table["repeat"]) == {0, 1}
    assert np.isfinite(table["balanced_accuracy"]).all()
