import numpy as np
import pytest

from fewlabels.figures.views import views_figure


def pictures(channels, columns=3):
    rng = np.random.default_rng(0)
    return {
        title: rng.random((columns, channels, 8, 8), dtype=np.float32) for title in ("original", "view 1", "view 2")
    }


@pytest.mark.parametrize("channels", [1, 3])
def test_every_row_is_a_view_and_every_column_an_image(channels):
    shown = pictures(channels)
    figure = views_figure(shown, source="flowers")
    axes = np.reshape(figure.axes, (3, 3))
    for row, (title, images) in zip(axes, shown.items(), strict=True):
        assert [axis.get_ylabel() for axis in row] == [title, "", ""]
        for axis, image in zip(row, images, strict=True):
            assert np.array_equal(axis.images[0].get_array(), np.moveaxis(image, 0, -1).squeeze())
            assert axis.images[0].get_clim() == (0, 1)  # no picture is stretched to the full range
    assert figure.get_suptitle() == "What the network is shown: 3 flowers images"


def test_synthetic_images_are_called_so():
    assert "SYNTHETIC" in views_figure(pictures(3), source="plankton", synthetic=True).get_suptitle()


def test_titles_stay_within_the_figure():
    shown = {"a rather long title": np.zeros((8, 3, 8, 8), np.float32)}
    figure = views_figure(shown, source="plankton", synthetic=True)
    figure.draw_without_rendering()
    whole = figure.bbox
    for text in (figure.axes[0].yaxis.label, figure._suptitle):
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= whole.x1
