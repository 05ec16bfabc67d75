"""Heat maps: numbers, names within the figure, with two and with sixty classes, and cells without a finished job."""

import numpy as np
import pytest

from fewlabels.figures.heatmaps import (
    MAX_ANNOTATED,
    annotated_heatmap,
    confusion_figure,
    distances_figure,
    sweep_heatmap,
)
from fewlabels.figures.style import new_figure

RNG = np.random.default_rng(0)


def make_figures(count):
    names = [f"a_class_with_a_rather_long_name_{k}" for k in range(count)]
    values = RNG.uniform(1, 60, (2, count, count))
    text = "images; silhouette 0.20; angle ratio (within / between classes) 0.58"
    return [
        distances_figure(names, *values, n=100, text=text),
        confusion_figure(names, values[0].round(), title="test images"),
    ]


@pytest.mark.parametrize("count", [2, 3, 6, 16, 17, 60])
def test_nothing_is_cut_off_or_covered(count):
    for figure in make_figures(count):
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
def test_large_heatmaps_have_a_colour_bar_instead_of_numbers(count):
    distances, _ = make_figures(count)
    assert len(distances.axes[0].texts) == (count**2 if count <= MAX_ANNOTATED else 0)
    assert len(distances.axes) == (2 if count <= MAX_ANNOTATED else 4)


def test_distances_are_annotated():
    angles, euclidean = np.array([[10.4, 50.0], [50.0, 20.6]]), np.array([[1.04, 5.0], [5.0, 2.06]])
    figure = distances_figure(["ant", "bee"], angles, euclidean, n=100, text="images", synthetic=True)
    assert [axis.get_title() for axis in figure.axes] == ["mean angle (degrees)", "mean Euclidean distance"]
    numbers = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert numbers == [["10", "50", "50", "21"], ["1.0", "5.0", "5.0", "2.1"]]
    assert " ".join(figure.get_supxlabel().split()) == "n = 100 images; SYNTHETIC images"


def test_numbers_contrast_with_their_cell():
    axis = new_figure(3, 3).subplots()
    annotated_heatmap(axis, np.array([[0.0, 100.0]]), ["a", "b"], ["c"], "", "{:.0f}")
    assert [text.get_color() for text in axis.texts] == ["white", "black"]


def test_a_sweep_marks_cells_without_a_finished_job():
    values = np.array([[0.25, 0.5], [np.nan, 0.75]])
    figure = sweep_heatmap(
        values, rows=("method.temperature", ["0.1", "0.5"]), columns=("method.optimizer.lr", ["1", "2"]),
        metric="val/knn_accuracy", n=3, text="means over seeds", synthetic=True,
    )  # fmt: skip
    axis, bar = figure.axes
    assert [text.get_text() for text in axis.texts] == ["0.25", "0.5", "not finished", "0.75"]
    assert [(text.get_position()) for text in axis.texts] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("method.optimizer.lr", "method.temperature")
    assert [text.get_text() for text in axis.get_yticklabels()] == ["0.1", "0.5"]
    assert bar.get_ylabel() == "val/knn_accuracy"
    assert figure.get_supxlabel() == "n = 3 jobs; means over seeds; SYNTHETIC images"
