"""Label spreading: against the closed form of its limit, and where no label reaches."""

import numpy as np
import pytest

from fewlabels.probing.propagation import classify, neighbour_graph, spread


@pytest.fixture
def points():
    draw = np.random.default_rng(0)
    return draw.normal(size=(40, 3)).astype(np.float32)


def test_the_result_is_the_limit_in_closed_form(points):
    """F = (I - alpha S)^-1 Y with S = D^-1/2 W D^-1/2 (Zhou et al. 2004, §2), normalised to probabilities."""
    graph = neighbour_graph(points, 6)
    rows, labels = np.array([0, 5, 9, 20]), np.array([0, 1, 2, 1])
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    directed = distances.argsort(1).argsort(1) <= 6
    weights = (directed + directed.T.astype(float)) / 2
    np.fill_diagonal(weights, 0)
    np.testing.assert_array_equal(graph.toarray(), weights)
    normalised = weights / np.sqrt(np.outer(weights.sum(0), weights.sum(0)))
    given = np.zeros((40, 3))
    given[rows, labels] = 1
    expected = np.linalg.solve(np.eye(40) - 0.8 * normalised, given)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(spread(graph, rows, labels, 3), expected, atol=1e-2)


def test_two_clouds_get_the_labels_of_one_image_each():
    draw = np.random.default_rng(0)
    cloud = np.repeat([0, 1], 50)
    points = (draw.normal(size=(100, 2)) + 20 * cloud[:, None]).astype(np.float32)
    probabilities = spread(neighbour_graph(points), np.array([7, 77]), np.array([3, 1]), 5)
    assert (classify(probabilities) == np.where(cloud, 1, 3)).all()
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert not probabilities[:, [0, 2, 4]].any()


def test_where_no_label_reaches_the_shares_of_the_labels_are_the_guess():
    draw = np.random.default_rng(0)
    points = (draw.normal(size=(90, 2)) + 50 * np.repeat([0, 1, 2], 30)[:, None]).astype(np.float32)
    probabilities = spread(neighbour_graph(points), np.array([0, 1, 2, 30]), np.array([0, 0, 0, 1]), 2)
    np.testing.assert_allclose(probabilities[60:], [[0.75, 0.25]] * 30)
    assert (classify(probabilities)[:60] == np.repeat([0, 1], 30)).all()


def test_one_class_is_every_images(points):
    assert (classify(spread(neighbour_graph(points), np.array([3]), np.array([1]), 4)) == 1).all()


def test_fewer_images_than_neighbours_are_a_graph_too():
    graph = neighbour_graph(np.eye(4, dtype=np.float32))
    assert classify(spread(graph, np.array([0, 1]), np.array([0, 1]), 2)).tolist()[:2] == [0, 1]
