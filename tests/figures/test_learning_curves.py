"""Learning curves of sweeps and of repeated finetunings."""

import numpy as np
import pytest

from fewlabels.figures.learning_curves import curves_figure, repeated_curves_figure

STEPS = np.array([10.0, 20.0, 30.0])


@pytest.mark.parametrize("count", [3, 30])
def test_every_job_has_a_curve_and_a_legend_entry(count):
    curves = {f"lr={k}": (STEPS, np.array([0.1, 0.2, 0.3]) * k) for k in range(count)}
    figure = curves_figure(curves, metric="val/loss", synthetic=True)
    (axis,) = figure.axes
    for line, (steps, values) in zip(axis.lines, curves.values(), strict=True):
        assert np.array_equal(line.get_xydata(), np.stack([steps, values], 1))
    assert len({line.get_color() if count == 3 else tuple(line.get_color()) for line in axis.lines}) == count
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("optimizer steps", "val/loss")
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(curves)
    frame = legend.get_window_extent()
    assert frame.y0 >= 0
    assert frame.x1 <= figure.bbox.x1 + 1
    assert figure.get_supxlabel() == f"n = {count} jobs; SYNTHETIC images"


def test_repeats_are_thin_and_their_mean_is_thick_and_ends_with_the_shortest():
    curves = {
        "from scratch": [(STEPS, np.array([0.2, 0.4, 0.6])), (STEPS[:2], np.array([0.4, 0.6]))],
        "after simclr": [(STEPS, np.array([0.5, 0.6, 0.7]))],
    }
    figure = repeated_curves_figure(curves, text="90 labels")
    (axis,) = figure.axes
    thick = [line for line in axis.lines if line.get_linewidth() == 2]
    assert len(axis.lines) - len(thick) == 3
    assert np.allclose(thick[0].get_xydata(), [[10, 30], [20, 50]])
    assert np.allclose(thick[1].get_xydata(), [[10, 50], [20, 60], [30, 70]])
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("optimizer steps", "validation balanced accuracy (%)")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(curves)
    text = "n = 3 runs; 90 labels; thin lines: repeats, thick lines: their mean"
    assert " ".join(figure.get_supxlabel().split()) == text
