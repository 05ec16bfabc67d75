"""The first look at a data set, with few classes and with many."""

import numpy as np
import pytest

from fewlabels.figures.data import MOST, counts_figure, examples_figure, sizes_figure


@pytest.mark.parametrize("count", [6, 60])
def test_every_image_is_in_one_bar(count):
    labels = np.concatenate([np.repeat(np.arange(count), np.arange(1, count + 1)), [-1, -1]])
    figure = counts_figure(labels, [f"class_{k}" for k in range(count)], synthetic=True)
    bars = [bar.get_width() for bar in figure.axes[0].patches]
    assert sum(bars) == len(labels)
    assert len(bars) == min(count, MOST) + (count > MOST) + 1
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names[0] == f"class {count - 1}"
    assert names[-1] == "without a class, or set aside"
    assert "SYNTHETIC" in figure.get_supxlabel()


def test_sizes_and_examples_say_what_they_show():
    figure = sizes_figure(np.array([[100, 50], [30, 40]]), used=64)
    assert "n = 2" in figure.get_supxlabel()
    assert "64" in figure.axes[0].get_legend().get_texts()[0].get_text()
    images = np.zeros((5, 1, 8, 8), np.uint8)
    figure = examples_figure(images, np.array([0, 0, 0, 1, 1]), ["ant", "bee"])
    assert [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()] == ["ant", "bee"]
    assert sum(len(axis.images) for axis in figure.axes) == 5
