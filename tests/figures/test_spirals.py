"""Figures of points: their colours, edges and pairs."""

import networkx as nx
import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgb

from fewlabels.figures.spirals import embedding_figure, graph_figure, pairs_figure, position_figure

POINTS = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)


def artists(figure, kind):
    return [artist for artist in figure.axes[0].collections if isinstance(artist, kind)]


def test_points_are_coloured_by_the_embedding():
    z = np.linspace(-3, 3, 30, dtype=np.float32)
    figure = embedding_figure(POINTS, z[:, None])
    (scatter,) = artists(figure, PathCollection)
    assert np.array_equal(scatter.get_array(), z)
    assert np.allclose(scatter.get_offsets(), POINTS)
    assert figure.axes[1].get_ylabel() == "embedding z"
    assert figure.get_supxlabel().startswith("n = 30 points; ")
    assert figure.axes[0].get_aspect() == 1


def test_the_embedding_is_drawn_against_the_position_by_arm():
    position, z, labels = np.linspace(-1, 1, 30), np.arange(30.0), np.arange(30) % 2
    figure = position_figure(position, z, labels, ["arm A", "arm B"], spearman=0.98765)
    for label, scatter in enumerate(artists(figure, PathCollection)):
        assert np.allclose(scatter.get_offsets(), np.stack([position, z], 1)[labels == label])
    assert figure.axes[0].get_title() == "|Spearman| = 0.9877"
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["arm A", "arm B"]
    assert figure.get_supxlabel().startswith("n = 30 test points; ")


@pytest.mark.parametrize(
    ("separate", "components"), [(True, "2 connected components"), (False, "1 connected component")]
)
def test_every_edge_of_a_graph_is_drawn(separate, components):
    graph = nx.path_graph(28)
    graph.add_edges_from([(28, 29)] if separate else [(27, 28), (28, 29)])
    figure = graph_figure(POINTS, graph)
    (lines,) = artists(figure, LineCollection)
    assert np.allclose(np.array(lines.get_segments()), POINTS[np.array(graph.edges)])
    assert figure.get_supxlabel() == f"n = 30 points; {graph.number_of_edges()} edges; {components}"


def test_pairs_are_lines_in_the_colours_of_the_legend():
    anchors, positives, negatives = np.arange(5), np.arange(5, 10), np.arange(10, 15)
    figure = pairs_figure(POINTS, anchors, positives, negatives)
    far, near = artists(figure, LineCollection)
    assert np.allclose(np.array(near.get_segments()), POINTS[np.stack([anchors, positives], 1)])
    assert np.allclose(np.array(far.get_segments()), POINTS[np.stack([anchors, negatives], 1)])
    legend = figure.axes[0].get_legend()
    colours = [to_rgb(handle.get_color()) for handle in legend.legend_handles]
    assert colours[1:] == [tuple(near.get_color()[0][:3]), tuple(far.get_color()[0][:3])]
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["anchor", "positive (close in the graph)", "negative (far)"]
    assert figure.get_supxlabel() == "n = 30 points; 5 positive and 5 negative pairs"


def test_title_legend_points_and_caption_do_not_overlap():
    figure = pairs_figure(POINTS, np.arange(5), np.arange(5, 10), np.arange(10, 15))
    figure.draw_without_rendering()
    axis = figure.axes[0]
    legend = axis.get_legend().get_window_extent()
    assert not legend.overlaps(axis.title.get_window_extent())
    assert legend.y0 > axis.transData.transform(POINTS)[:, 1].max()
    assert not figure._supxlabel.get_window_extent().overlaps(axis.xaxis.label.get_window_extent())
