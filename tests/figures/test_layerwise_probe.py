"""The layer-wise probe: means and intervals by block, and texts."""

import numpy as np
import pandas as pd
import pytest

from fewlabels.figures.layerwise_probe import layerwise_probe_figure
from fewlabels.probing.intervals import interval

SOURCES, LAYERS = ["pretrained network", "untrained network"], ["stem", "block 1", "block 2"]


def test_every_source_has_a_curve_over_the_blocks():
    rows = [
        (source, layer, repeat, 0.5 - 0.2 * place + 0.1 * depth + 0.02 * repeat)
        for place, source in enumerate(SOURCES) for depth, layer in enumerate(LAYERS) for repeat in range(3)
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["source", "layer", "repeat", "balanced_accuracy"])
    figure = layerwise_probe_figure(table, labels=300, classes=5, tested=800, synthetic=True)
    (axis,) = figure.axes
    _, low, high = interval(np.array([50.0, 52.0, 54.0]))
    for container, start in zip(axis.containers, (52, 32), strict=True):
        assert np.allclose(container[0].get_xydata(), [[0, start], [1, start + 10], [2, start + 20]])
        assert np.ptp(container[2][0].get_segments()[0][:, 1]) == pytest.approx(high - low)
    assert [text.get_text() for text in axis.get_xticklabels()] == LAYERS
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*SOURCES, "chance level"]
    assert axis.get_ylabel() == "balanced accuracy (%)"
    assert " ".join(figure.get_supxlabel().split()) == (
        "n = 800 test images; linear probe, 300 labels; means over 3 random draws; bars with caps: mean's 95% "
        "interval; thin lines: one labelling session: 5–95% of draws; SYNTHETIC images"
    )
