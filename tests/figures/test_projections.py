"""The space in a plane: the same class has the same colour wherever it is shown, with six classes and with sixty."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from fewlabels.figures.projections import components_figure, plane_figure
from fewlabels.figures.style import PALETTE

RNG = np.random.default_rng(0)


def drawn(figure):
    """Per panel, the names below it with their colours."""
    return [{text.get_text(): to_hex(text.get_color()).upper() for text in axis.texts} for axis in figure.axes]


@pytest.mark.parametrize("count", [6, 60])
def test_panels_that_share_classes_share_colours_and_others_have_the_palette(count):
    labels = np.r_[RNG.integers(0, count, 300), RNG.integers(0, count, 200), np.repeat([count, count + 1], 50)]
    panels = {"train": np.arange(600) < 300, "test": (np.arange(600) >= 300) & (np.arange(600) < 500),
              "unseen": np.arange(600) >= 500}  # fmt: skip
    classes = [f"class {k}" for k in range(count + 2)]
    figure = plane_figure(panels, RNG.normal(size=(600, 2)), labels, classes, text="", synthetic=True)
    train, test, unseen = drawn(figure)
    shared = train.keys() & test.keys()
    assert len(shared) >= 6
    assert all(train[name] == test[name] for name in shared)
    assert len(set(train.values())) == len(train) <= len(PALETTE)
    assert list(unseen.values()) == [colour.upper() for colour in PALETTE[:2]]
    assert ("others" in "".join(train) or "other classes" in "".join(train)) == (count > len(PALETTE))
    assert "SYNTHETIC" in figure.get_supxlabel()


@pytest.mark.parametrize("count", [6, 60])
def test_nothing_overlaps(count):
    labels = RNG.integers(-1, count, 400)
    classes = [f"a_class_with_a_rather_long_name_{k}" for k in range(count)]
    everyone = {"validation": np.ones(400, bool)}
    plane = plane_figure(everyone, RNG.normal(size=(400, 2)), labels, classes, text="made so")
    pairs = components_figure(RNG.normal(size=(400, 4)), np.full(4, 0.25), labels, classes)
    for figure in (plane, pairs):
        figure.draw_without_rendering()
        texts = [figure._supxlabel, *(axis.xaxis.label for axis in figure.axes if axis.get_xlabel())]
        boxes = [text.get_window_extent() for text in texts]
        assert not any(boxes[0].overlaps(box) for box in boxes[1:])
        (legend,) = figure.legends
        frame = legend.get_window_extent()
        assert not any(frame.overlaps(axis.get_window_extent()) for axis in figure.axes)
        assert figure.bbox.x0 <= frame.x0
        assert frame.x1 <= figure.bbox.x1 + 1
