"""Comparison of inits: means, intervals, repeats, chance level and texts."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from fewlabels.figures.init_comparison import bars_figure, fractions_figure

INITS = ["from scratch", "after simclr"]


def make_table(budgets=(60,), seeds=(0, 1, 2)):
    rows = [
        (init, labels, seed, 0.3 + 0.2 * place + 0.001 * labels + 0.05 * seed)
        for place, init in enumerate(INITS) for labels in budgets for seed in seeds
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["init", "labels", "seed", "accuracy"])


def half_width(values):
    """Half of the 95% interval of the mean, by Student's t."""
    return t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))


def test_bars_are_means_with_intervals_and_lines_are_repeats():
    table = make_table()
    figure = bars_figure(table, classes=4, tested=600, text="60 labels", synthetic=True)
    (axis,) = figure.axes
    half = 100 * half_width([0.0, 0.05, 0.1])
    assert [bar.get_height() for bar in axis.patches] == pytest.approx([41, 61])
    texts = [text.get_text() for text in axis.get_xticklabels()]
    assert texts == [f"from scratch\n41.0 ± {half:.1f}", f"after simclr\n61.0 ± {half:.1f}"]
    repeats = [line for line in axis.lines if line.get_marker() == "o"]
    assert np.allclose([line.get_ydata() for line in repeats], [[36, 56], [41, 61], [46, 66]])
    (chance,) = (line for line in axis.lines if line.get_label() == "chance level")
    assert list(chance.get_ydata()) == [25, 25]
    assert [text.get_text().strip() for text in axis.texts] == ["chance level"]
    assert axis.get_ylabel() == "test accuracy (%)"
    text = "n = 600 test images; 60 labels; means over 3 repeats, 95% intervals; grey: each repeat; SYNTHETIC images"
    assert " ".join(figure.get_supxlabel().split()) == text


def test_one_repeat_has_no_interval():
    figure = bars_figure(make_table(seeds=(0,)), classes=4, tested=600, text="60 labels")
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == [
        "from scratch\n36.0",
        "after simclr\n56.0",
    ]
    assert figure.get_supxlabel() == "n = 600 test images; 60 labels; 1 repeat"


def test_an_unfinished_repeat_is_drawn_where_it_has_finished():
    table = make_table().iloc[:-1]
    lines = bars_figure(table, classes=4, tested=600, text="60 labels").axes[0].lines
    assert [len(line.get_xdata()) for line in lines if line.get_marker() == "o"] == [2, 2, 1]


def test_more_inits_than_colours_are_all_drawn():
    table = pd.concat([make_table().assign(init=f"init {k}") for k in range(10)])
    assert len(bars_figure(table, classes=4, tested=600, text="60 labels").axes[0].patches) == 10


def test_every_init_has_a_curve_over_the_numbers_of_labels():
    figure = fractions_figure(make_table(budgets=(60, 600)), classes=4, tested=500)
    (axis,) = figure.axes
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*INITS, "chance level"]
    for container, start in zip(axis.containers, (41, 61), strict=True):
        assert np.allclose(container[0].get_xydata(), [[60, start], [600, start + 54]])
        segments = np.array(container[2][0].get_segments())
        assert np.ptp(segments[0], axis=0) == pytest.approx([0, 200 * half_width([0.0, 0.05, 0.1])])
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("labels", "test accuracy (%)")
    assert [text.get_text() for text in axis.get_xticklabels()] == ["60", "600"]
    assert figure.get_supxlabel() == "n = 500 test images; means over 3 repeats, 95% intervals"


def test_different_numbers_of_repeats_are_stated():
    figure = fractions_figure(make_table(budgets=(60, 600)).iloc[:-1], classes=4, tested=500)
    assert "means over 2–3 repeats" in figure.get_supxlabel()


def test_a_long_legend_is_within_the_figure():
    table = make_table(budgets=(60, 600))
    table["init"] = table["init"] + " on synthetic images with a rather long name"
    figure = fractions_figure(table, classes=4, tested=500)
    figure.draw_without_rendering()
    frame = figure.legends[0].get_window_extent()
    assert frame.x0 >= 0
    assert frame.x1 <= figure.bbox.x1
