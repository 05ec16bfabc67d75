"""Captions, colours, legends and shortened names."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from fewlabels.figures.style import (
    PALETTE,
    caption,
    chance_line,
    class_colours,
    curve_styles,
    displayed,
    legend_above,
    legend_entries,
    new_figure,
    repeats_text,
    thumbnail,
)


@pytest.mark.parametrize(("synthetic", "text"), [
    (False, "n = 1,234 test images"),
    (True, "n = 1,234 test images; SYNTHETIC images"),
])  # fmt: skip
def test_captions_state_n_and_synthetic_images(synthetic, text):
    figure = new_figure(8, 3)
    caption(figure, "test images", n=1234, synthetic=synthetic)
    assert figure.get_supxlabel() == text


def test_long_captions_are_wrapped():
    figure = new_figure(3, 3)
    caption(figure, "images; " + "word " * 20, n=1)
    assert max(map(len, figure.get_supxlabel().splitlines())) <= 3 * 14


def test_the_palette_has_eight_different_colours():
    assert len({to_rgb(colour) for colour in PALETTE}) == 8


def test_few_classes_have_the_palette_in_the_order_of_their_labels():
    labels = np.array([2, 0, 2, -1, -2])
    groups = class_colours(labels, ["ant", "bee", "cat"])
    assert [(name, colour) for name, colour, _ in groups] == [
        ("unlabelled", "#DDDDDD"), ("ant", PALETTE[0]), ("cat", PALETTE[1]),
    ]  # fmt: skip
    assert [mask.tolist() for _, _, mask in groups] == [(labels == label).tolist() for label in (-1, 0, 2)]


def test_the_smallest_of_many_classes_share_a_grey():
    labels = np.repeat(np.arange(10), np.arange(10, 0, -1))
    groups = class_colours(labels, [f"class {k}" for k in range(10)])
    assert [name for name, _, _ in groups] == ["3 other classes", *(f"class {k}" for k in range(7))]
    assert groups[0][2].sum() == 3 + 2 + 1
    assert np.sum([mask for _, _, mask in groups], axis=0).tolist() == [1] * len(labels)


def test_the_chance_level_is_the_last_entry_of_a_legend():
    axis = new_figure(3, 3).subplots()
    chance_line(axis, 4)
    axis.plot([0, 1], [30, 60], label="network")
    assert axis.lines[0].get_ydata() == [25, 25]
    assert legend_entries(axis)[1] == ["network", "chance level"]


def test_one_repeat_has_no_interval():
    assert repeats_text(1) == "1 repeat"
    assert repeats_text(5) == "means over 5 repeats, 95% intervals"


def test_sixty_four_curves_have_styles_of_their_own_and_eight_differ_in_all():
    styles = curve_styles(64)
    assert len(set(styles)) == 64
    assert [colour for colour, *_ in styles[:8]] == list(PALETTE)
    assert len({marker for *_, marker in styles[:8]}) == 8
    assert len(curve_styles(70)) == 70


def test_a_class_may_be_called_like_the_background():
    groups = class_colours(np.array([-1, 0]), ["unlabelled"])
    assert [name for name, *_ in groups] == ["(unlabelled)", "unlabelled"]


def test_a_legend_of_many_rows_leaves_the_axes_their_height():
    heights = []
    for count in (3, 40):
        figure = new_figure(6, 4)
        axis = figure.subplots()
        for k in range(count):
            axis.plot([0, 1], [0, k], label=f"a network with a long name {k}")
        legend_above(figure, *legend_entries(axis))
        figure.draw_without_rendering()
        heights.append(axis.get_window_extent().height)
        frame = figure.legends[0].get_window_extent()
        assert figure.bbox.y0 <= frame.y0
        assert frame.y1 <= figure.bbox.y1 + 1
    assert heights[1] > 0.9 * heights[0]


@pytest.mark.parametrize("channels", [1, 3])
def test_thumbnails_are_not_rescaled(channels):
    axis, image = new_figure(3, 3).subplots(), np.full((channels, 4, 4), 99, np.uint8)
    thumbnail(axis, image, "12°", PALETTE[0])
    assert np.array_equal(axis.images[0].get_array(), np.moveaxis(image, 0, -1).squeeze())
    assert axis.images[0].get_clim() == (0, 255)
    assert axis.get_xlabel() == "12°"
    assert to_rgb(axis.spines["left"].get_edgecolor()) == to_rgb(PALETTE[0])


def test_of_channels_that_are_no_colours_the_mean_is_shown():
    image = np.arange(5 * 4 * 4, dtype=np.uint8).reshape(5, 4, 4)
    assert (displayed(image) == np.arange(32, 48).reshape(4, 4)).all()
    assert displayed(image[:3]).shape == (4, 4, 3)
    assert (displayed(image[:1]) == image[0]).all()
