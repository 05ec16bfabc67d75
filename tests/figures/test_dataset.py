"""Figures of a dataset, with few and with many classes."""

import numpy as np
import pytest

from fewlabels.figures.dataset import MAX_BARS, counts_figure, examples_figure, sizes_figure, views_figure


@pytest.mark.parametrize("count", [6, 60])
def test_every_sample_is_counted_in_one_bar(count):
    labels = np.concatenate([np.repeat(np.arange(count), np.arange(1, count + 1)), [-1, -1]])
    figure = counts_figure(labels, [f"class_{k}" for k in range(count)], synthetic=True)
    axis = figure.axes[0]
    bars = [bar.get_width() for bar in axis.patches]
    assert sum(bars) == len(labels)
    assert len(bars) == min(count, MAX_BARS) + (count > MAX_BARS) + 1
    names = [text.get_text() for text in axis.get_yticklabels()]
    assert names[0] == f"class {count - 1}"
    assert names[-1] == "unlabelled or excluded"
    assert ("30 smaller classes" in names) == (count == 60)
    assert [text.get_text() for text in axis.texts] == [f" {length:,}" for length in bars]
    assert figure.get_supxlabel() == f"n = {len(labels):,} samples; {count} classes; SYNTHETIC images"
    low, high = axis.get_ylim()
    assert low > high, "the first bar is on top"


def test_sizes_are_drawn_with_the_input_size():
    sizes = np.array([[100, 50], [30, 40]])
    figure = sizes_figure(sizes, used=64)
    axis = figure.axes[0]
    assert np.array_equal(axis.collections[0].get_offsets(), sizes)
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("image width (pixels)", "image height (pixels)")
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["files", "resized to 64 × 64 (data.size)"]
    assert figure.get_supxlabel() == "n = 2 image files"


def test_examples_have_one_row_per_class():
    images = np.zeros((5, 1, 8, 8), np.uint8)
    figure = examples_figure(images, np.array([0, 0, 0, 1, 1]), ["ant", "bee"])
    assert [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()] == ["ant", "bee"]
    assert sum(len(axis.images) for axis in figure.axes) == 5


def make_views(channels, columns=3):
    rng = np.random.default_rng(0)
    return {
        title: rng.random((columns, channels, 8, 8), dtype=np.float32) for title in ("original", "view 1", "view 2")
    }


@pytest.mark.parametrize("channels", [1, 3])
def test_views_have_a_row_per_view_and_a_column_per_image(channels):
    views = make_views(channels)
    figure = views_figure(views, source="flowers")
    axes = np.reshape(figure.axes, (3, 3))
    for row, (title, images) in zip(axes, views.items(), strict=True):
        assert [axis.get_ylabel() for axis in row] == [title, "", ""]
        for axis, image in zip(row, images, strict=True):
            assert np.array_equal(axis.images[0].get_array(), np.moveaxis(image, 0, -1).squeeze())
            assert axis.images[0].get_clim() == (0, 1)  # contrast is not stretched
    assert figure.get_suptitle() == "Views of 3 flowers images"


def test_views_of_synthetic_images_are_marked():
    figure = views_figure(make_views(3), source="plankton", synthetic=True)
    assert figure.get_suptitle() == "Views of 3 SYNTHETIC plankton images"


def test_titles_of_views_are_within_the_figure():
    views = {"a rather long title": np.zeros((8, 3, 8, 8), np.float32)}
    figure = views_figure(views, source="plankton", synthetic=True)
    figure.draw_without_rendering()
    for text in (figure.axes[0].yaxis.label, figure._suptitle):
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
