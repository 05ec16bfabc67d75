"""Galleries: which images are shown where, with which texts and frames."""

import numpy as np
from matplotlib.colors import to_rgb

from fewlabels.figures.galleries import BLOCKS, gallery_figure, neighbours_figure
from fewlabels.figures.style import NEGATIVE, POSITIVE
from fewlabels.probing.class_geometry import Gallery

IMAGES = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4), np.uint8)
CLASSES = ["ant", "bee"]


def shown(axes):
    """Row of `IMAGES`, and the text below it, of every axis that shows an image."""
    return [(int(axis.images[0].get_array()[0, 0]), axis.get_xlabel()) for axis in axes if axis.images]


def test_a_class_has_three_blocks_of_images():
    angles = np.array([1.0, 2.0]), np.array([50.0, 40.0]), np.array([30.0])
    gallery = Gallery("ant", np.array([0, 1]), np.array([5, 4]), np.array([7]), angles)
    figure = gallery_figure([gallery], IMAGES, np.repeat([0, 1], 6), CLASSES, synthetic=True)
    assert [part.get_suptitle() for part in figure.subfigs] == list(BLOCKS)
    assert [shown(part.axes) for part in figure.subfigs] == [
        [(0, "1°\n "), (1, "2°\n ")], [(5, "50°\n "), (4, "40°\n ")], [(7, "30°\nbee")],
    ]  # fmt: skip
    assert figure.subfigs[0].axes[0].get_ylabel() == "ant"
    text = "n = 12 images; below each: angle to its row's class mean; SYNTHETIC images"
    assert " ".join(figure.get_supxlabel().split()) == text


def test_neighbours_are_framed_by_whether_they_have_the_class_of_the_query():
    neighbours = IMAGES[[[1, 2, 3], [4, 5, 6]]]
    labels = np.array([[0, 1, 0], [1, 1, 0]])
    angles = np.array([[10.0, 20.0, 30.0], [11.0, 21.0, 31.0]])
    figure = neighbours_figure(IMAGES[[0, 7]], np.array([0, 1]), neighbours, labels, angles, CLASSES, n=400)
    axes = np.reshape(figure.axes, (2, 4))
    assert [shown(row) for row in axes] == [
        [(0, ""), (1, "10°"), (2, "20°"), (3, "30°")], [(7, ""), (4, "11°"), (5, "21°"), (6, "31°")],
    ]  # fmt: skip
    frames = [[to_rgb(axis.spines["left"].get_edgecolor()) for axis in row[1:]] for row in axes]
    same, other = to_rgb(POSITIVE), to_rgb(NEGATIVE)
    assert frames == [[same, other, same], [same, same, other]]
    assert [row[0].get_ylabel() for row in axes] == CLASSES
    assert [axis.get_title() for axis in axes[0]] == ["query", "", "nearest neighbours, closest first", ""]
    assert figure.get_supxlabel().startswith("n = 400 images searched; ")
