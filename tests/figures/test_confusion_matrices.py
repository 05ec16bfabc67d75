"""Confusion matrices: percentages, axis labels, and no overlaps."""

import numpy as np
import pytest

from fewlabels.figures.heatmaps import MAX_ANNOTATED, confusion_comparison_figure, confusion_figure


def numbers(axis):
    return [text.get_text() for text in axis.texts]


def test_rows_are_percentages_of_the_true_class():
    figure = confusion_figure(["a", "b"], np.array([[3, 1], [0, 5]]), title="test images", synthetic=True)
    (axis,) = figure.axes
    assert numbers(axis) == ["75", "25", "0", "100"]
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_title()) == ("predicted", "true", "test images")
    assert " ".join(figure.get_supxlabel().split()) == "n = 9 predictions; % of the true class; SYNTHETIC images"


def test_a_class_without_test_images_has_a_row_of_zeros():
    figure = confusion_figure(["a", "b"], np.array([[3, 1], [0, 0]]), title="")
    assert numbers(figure.axes[0]) == ["75", "25", "0", "0"]


def test_the_comparison_has_one_matrix_per_init():
    counts = {"from scratch": np.array([[1, 1], [0, 2]]), "after simclr": np.array([[2, 0], [1, 1]])}
    figure = confusion_comparison_figure(counts, ["ant", "bee"], text="90 labels")
    assert [axis.get_title() for axis in figure.axes] == list(counts)
    assert [numbers(axis) for axis in figure.axes] == [["50", "50", "0", "100"], ["100", "0", "50", "50"]]
    assert [axis.get_xlabel() for axis in figure.axes] == ["predicted"] * 2
    assert [axis.get_ylabel() for axis in figure.axes] == ["true", ""]
    text = "n = 8 predictions on test images; 90 labels; % of the true class"
    assert " ".join(figure.get_supxlabel().split()) == text


@pytest.mark.parametrize("count", [6, 17])
@pytest.mark.parametrize("inits", [1, 3])
def test_nothing_is_cut_off_or_covered(count, inits):
    rng, names = np.random.default_rng(0), [f"a_class_with_a_rather_long_name_{k}" for k in range(count)]
    counts = {f"after method {k}": rng.integers(1, 40, (count, count)) for k in range(inits)}
    figure = confusion_comparison_figure(counts, names, text="90 labels")
    figure.draw_without_rendering()
    caption = figure._supxlabel.get_window_extent()
    for axis in figure.axes:
        for text in (axis.title, axis.xaxis.label, *axis.get_xticklabels(), *axis.get_yticklabels()):
            if text.get_text():
                box = text.get_window_extent()
                assert box.y1 <= figure.bbox.y1 + 1, text.get_text()
                assert not box.overlaps(caption), text.get_text()
    assert len(figure.axes) == inits * (1 + (count > MAX_ANNOTATED))  # with a colour bar
