"""Label efficiency curves: means, bands, chance level and texts."""

import numpy as np
import pandas as pd
import pytest

from fewlabels.figures.label_efficiency import label_efficiency_figure
from fewlabels.probing.intervals import interval, session_spread

SOURCES, BUDGETS = ["pretrained network", "untrained network"], [30, 40, 100, 400]


def make_table():
    """All labels, the last budget, are tried once."""
    rows = [
        (source, probe, labels, repeat, 0.4 - 0.1 * place + 0.0005 * labels + 0.02 * repeat)
        for place, source in enumerate(SOURCES) for probe in ("linear", "knn") for labels in BUDGETS
        for repeat in range(3 if labels < 400 else 1)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["source", "probe", "labels", "repeat", "balanced_accuracy"])


def make_figure():
    population = "3 classes held out from pretraining"
    return label_efficiency_figure(make_table(), classes=5, tested=800, population=population, synthetic=True)


def test_curves_are_the_means_over_repeats():
    for axis in make_figure().axes:
        for line, start in zip(axis.lines[:2], (42, 32), strict=True):
            expected = [start + 0.05 * labels for labels in BUDGETS]
            expected[-1] -= 2  # one repeat
            assert np.allclose(line.get_xydata(), np.stack([BUDGETS, expected], 1))


def test_bands_are_the_95_percent_interval_and_the_spread_of_one_session():
    band = make_figure().axes[0].collections[0].get_paths()[0].vertices
    _, low, high = interval(np.array([41.5, 43.5, 45.5]))
    at_30 = band[band[:, 0] == 30][:, 1]
    assert (at_30.min(), at_30.max()) == pytest.approx((low, high))
    wide = make_figure().axes[0].collections[1].get_paths()[0].vertices
    low, high = session_spread([0.415, 0.435, 0.455])
    at_30 = wide[wide[:, 0] == 30][:, 1]
    assert (at_30.min(), at_30.max()) == pytest.approx((100 * low, 100 * high))


def test_texts_of_the_figure():
    figure = make_figure()
    assert [axis.get_title() for axis in figure.axes] == ["linear probe", "5 nearest neighbours"]
    assert [axis.get_xlabel() for axis in figure.axes] == ["labels"] * 2
    assert figure.axes[0].get_ylabel() == "balanced accuracy (%)"
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["30", "100", "400"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*SOURCES, "chance level"]
    assert all(list(axis.lines[-1].get_ydata()) == [20, 20] for axis in figure.axes)
    assert " ".join(figure.get_supxlabel().split()) == (
        "n = 800 test images of 3 classes held out from pretraining; means over 3 random draws of labels; dark "
        "band: mean's 95% interval; light band: one labelling session: 5–95% of draws; SYNTHETIC images"
    )
