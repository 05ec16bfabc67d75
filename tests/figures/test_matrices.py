"""Heat maps: every name and number is within the figure, with two classes and with sixty."""

import numpy as np
import pytest

from fewlabels.figures.matrices import READABLE, confusion_figure, distances_figure

RNG = np.random.default_rng(0)


def figures(count):
    names = [f"a_class_with_a_rather_long_name_{k}" for k in range(count)]
    values = RNG.uniform(1, 60, (2, count, count))
    text = "images; silhouette 0.20; angle within over between classes 0.58"
    return [
        distances_figure(names, *values, n=100, text=text),
        confusion_figure(names, values[0].round(), title="told"),
    ]


@pytest.mark.parametrize("count", [2, 3, 6, 16, 17, 60])
def test_nothing_is_cut_off_and_the_caption_covers_nothing(count):
    for figure in figures(count):
        figure.draw_without_rendering()
        caption = figure._supxlabel.get_window_extent()
        for axis in figure.axes:
            for text in (axis.title, *axis.get_xticklabels(), *axis.get_yticklabels()):
                box = text.get_window_extent()
                if text.get_text():
                    assert figure.bbox.x0 - 1 <= box.x0
                    assert box.x1 <= figure.bbox.x1 + 1
                    assert box.y1 <= figure.bbox.y1 + 1
                    assert not box.overlaps(caption), text.get_text()


@pytest.mark.parametrize("count", [6, 60])
def test_numbers_are_written_where_they_are_legible(count):
    distances, _ = figures(count)
    assert len(distances.axes[0].texts) == (count**2 if count <= READABLE else 0)


def test_a_confusion_is_shown_in_shares_of_the_truth():
    figure = confusion_figure(["a", "b"], np.array([[3, 1], [0, 5]]), title="told")
    assert [text.get_text() for text in figure.axes[0].texts] == ["75", "25", "0", "100"]
    assert "n = 9" in figure.get_supxlabel()
