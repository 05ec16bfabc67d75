import networkx as nx
import numpy as np
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgb

from fewlabels.figures.spirals import embedding_figure, graph_figure, pairs_figure
from fewlabels.figures.style import PALETTE, caption, new_figure

POINTS = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)


def parts(figure, kind):
    return [artist for artist in figure.axes[0].collections if isinstance(artist, kind)]


def test_embedding_is_the_colour_and_the_bar_is_labelled():
    z = np.linspace(-3, 3, 30, dtype=np.float32)
    figure = embedding_figure(POINTS, z[:, None])
    (shown,) = parts(figure, PathCollection)
    assert np.array_equal(shown.get_array(), z)
    assert np.allclose(shown.get_offsets(), POINTS)
    assert figure.axes[1].get_ylabel() == "embedding z"
    assert figure.get_supxlabel().startswith("n = 30")
    assert figure.axes[0].get_aspect() == 1


def test_graph_draws_every_edge_and_says_how_many_and_in_how_many_pieces():
    graph = nx.path_graph(28)
    graph.add_edge(28, 29)
    figure = graph_figure(POINTS, graph)
    (lines,) = parts(figure, LineCollection)
    assert np.allclose(np.array(lines.get_segments()), POINTS[np.array(graph.edges)])
    assert figure.get_supxlabel() == "n = 30; 28 edges, in 2 pieces"


def test_pairs_join_anchors_to_their_partners_in_the_colours_of_the_legend():
    anchors, positives, negatives = np.arange(5), np.arange(5, 10), np.arange(10, 15)
    figure = pairs_figure(POINTS, anchors, positives, negatives)
    far, near = parts(figure, LineCollection)
    assert np.allclose(np.array(near.get_segments()), POINTS[np.stack([anchors, positives], 1)])
    assert np.allclose(np.array(far.get_segments()), POINTS[np.stack([anchors, negatives], 1)])
    legend = figure.axes[0].get_legend()
    colours = [to_rgb(handle.get_color()) for handle in legend.legend_handles]
    assert colours[1:] == [tuple(near.get_color()[0][:3]), tuple(far.get_color()[0][:3])]
    assert "5 positive and 5 negative" in figure.get_supxlabel()


def test_figures_are_drawn_without_overlap_of_title_legend_and_caption():
    figure = pairs_figure(POINTS, np.arange(5), np.arange(5, 10), np.arange(10, 15))
    figure.draw_without_rendering()
    axis = figure.axes[0]
    legend = axis.get_legend().get_window_extent()
    assert not legend.overlaps(axis.title.get_window_extent())
    assert legend.y0 > axis.transData.transform(POINTS)[:, 1].max()
    assert not figure._supxlabel.get_window_extent().overlaps(axis.xaxis.label.get_window_extent())


def test_caption_says_synthetic_when_told():
    figure = new_figure(3, 3)
    caption(figure, "", n=1234, synthetic=True)
    assert " ".join(figure.get_supxlabel().split()) == "n = 1,234; SYNTHETIC images, drawn by the program"


def test_palette_has_eight_different_colours():
    assert len({to_rgb(colour) for colour in PALETTE}) == 8
