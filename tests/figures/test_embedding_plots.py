"""UMAP and pair plots: colours of classes, texts, and no overlaps, with six and with sixty classes."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from fewlabels.figures.embedding_plots import pair_plot_figure, umap_figure
from fewlabels.figures.style import PALETTE

RNG = np.random.default_rng(0)


def panel_colours(figure):
    """For each panel, the colours of its legend by class name."""
    return [
        {
            text.get_text(): to_hex(handle.get_facecolor()[0][:3]).upper()
            for text, handle in zip(axis.get_legend().get_texts(), axis.get_legend().legend_handles, strict=True)
        }
        for axis in figure.axes
    ]


@pytest.mark.parametrize("count", [6, 60])
def test_panels_that_share_classes_share_colours_and_others_use_the_palette(count):
    labels = np.r_[RNG.integers(0, count, 300), RNG.integers(0, count, 200), np.repeat([count, count + 1], 50)]
    panels = {"train": np.arange(600) < 300, "test": (np.arange(600) >= 300) & (np.arange(600) < 500),
              "unseen": np.arange(600) >= 500}  # fmt: skip
    classes = [f"class {k}" for k in range(count + 2)]
    figure = umap_figure(panels, RNG.normal(size=(600, 2)), labels, classes, text="images", synthetic=True)
    assert [axis.get_title() for axis in figure.axes] == ["train (n = 300)", "test (n = 200)", "unseen (n = 100)"]
    train, test, unseen = panel_colours(figure)
    shared = train.keys() & test.keys()
    assert len(shared) >= 6
    assert all(train[name] == test[name] for name in shared)
    assert len(set(train.values())) == len(train) <= len(PALETTE)
    assert list(unseen.values()) == [colour.upper() for colour in PALETTE[:2]]
    assert ("other classes" in "".join(train)) == (count > len(PALETTE))
    assert figure.get_supxlabel() == "n = 600 images; SYNTHETIC images"


def test_umap_draws_every_sample_at_its_place_in_the_colour_of_its_class():
    labels, plane = np.array([0, 1, 1, 0]), RNG.normal(size=(4, 2))
    figure = umap_figure({"val": np.ones(4, bool)}, plane, labels, ["ant", "bee"], text="images")
    background, *groups = figure.axes[0].collections
    assert np.allclose(background.get_offsets(), plane)
    for label, group in enumerate(groups):
        assert np.allclose(group.get_offsets(), plane[labels == label])
        assert to_hex(group.get_facecolor()[0][:3]).upper() == PALETTE[label]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ant", "bee"]


def test_pair_plots_name_components_and_classes():
    components, labels = RNG.normal(size=(60, 3)), np.arange(60) % 3
    classes = [f"a_class_with_a_very_long_name_{k}" for k in range(3)]
    figure = pair_plot_figure(components, np.array([0.5, 0.25, 0.1]), labels, classes)
    names = ["PC 1 (50%)", "PC 2 (25%)", "PC 3 (10%)"]
    assert {axis.get_xlabel() for axis in figure.axes if axis.get_xlabel()} == set(names)
    assert {axis.get_ylabel() for axis in figure.axes} >= set(names[1:])
    assert len({text.get_text() for text in figure.legends[0].get_texts()}) == 3
    colours = [to_hex(handle.get_color()).upper() for handle in figure.legends[0].legend_handles]
    assert colours == list(PALETTE[:3])
    assert figure.get_suptitle() == "Principal components of the embeddings (explained variance)"


@pytest.mark.parametrize("count", [6, 60])
def test_nothing_overlaps(count):
    labels = RNG.integers(-1, count, 400)
    classes = [f"a_class_with_a_rather_long_name_{k}" for k in range(count)]
    panels = {"validation": np.ones(400, bool)}
    umap = umap_figure(panels, RNG.normal(size=(400, 2)), labels, classes, text="images; UMAP of the embeddings")
    pairs = pair_plot_figure(RNG.normal(size=(400, 4)), np.full(4, 0.25), labels, classes)
    for figure in (umap, pairs):
        figure.draw_without_rendering()
        texts = [figure._supxlabel, *(axis.xaxis.label for axis in figure.axes if axis.get_xlabel())]
        boxes = [text.get_window_extent() for text in texts]
        assert not any(boxes[0].overlaps(box) for box in boxes[1:])
        (legend,) = figure.legends
        frame = legend.get_window_extent()
        assert not any(frame.overlaps(axis.get_window_extent()) for axis in figure.axes)
        assert figure.bbox.x0 <= frame.x0
        assert frame.x1 <= figure.bbox.x1 + 1
