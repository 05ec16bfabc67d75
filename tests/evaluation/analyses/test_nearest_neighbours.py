import numpy as np
import pytest

from fewlabels.evaluation.analyses.nearest_neighbours import NearestNeighbours


@pytest.fixture
def run(context, made_up, drawn):
    """Run the analysis on made-up embeddings; returns the arguments of the figure."""
    calls = drawn("nearest_neighbours", "neighbours_figure")["neighbours_figure"]

    def call(vectors=None, **arguments):
        NearestNeighbours(**arguments).run(made_up(vectors))
        return calls.pop()

    return call


def test_a_query_is_not_its_own_neighbour(run):
    (queries, _, neighbours, _, _, _), _ = run()
    same = (neighbours == queries[:, None]).all((2, 3, 4))
    assert not same.any()


def test_neighbours_come_from_the_test_images_nearest_first(context, run):
    (queries, labels, neighbours, neighbour_labels, angles, _), options = run()
    test = context.data.images(context.test_embeddings.index).numpy()
    vectors = context.test_embeddings.vectors.astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    (row,) = np.flatnonzero((test == queries[0]).all((1, 2, 3)))
    expected = [other for other in np.argsort(-vectors @ vectors[row]) if other != row][:10]
    assert np.array_equal(neighbours[0], test[expected])
    assert np.allclose(angles[0], np.degrees(np.arccos(vectors[expected] @ vectors[row])), atol=1e-3)
    assert neighbour_labels[0].tolist() == context.test_embeddings.labels[expected].tolist()
    assert options["n"] == len(test)
    assert labels[0] == context.test_embeddings.labels[row]


def test_perfect_embeddings_have_neighbours_of_the_same_class(context, run):
    (_, labels, _, neighbour_labels, _, _), _ = run(np.eye(5)[context.embeddings.labels])
    assert (neighbour_labels == labels[:, None]).all()


def test_queries_are_drawn_evenly_from_the_classes(run):
    (queries, labels, neighbours, _, angles, _), _ = run(queries=6, count=3)
    assert np.unique(labels, return_counts=True)[1].tolist() == [3, 3]
    assert len({query.tobytes() for query in queries}) == 6
    assert neighbours.shape == (6, 3, 1, 32, 32)
    assert angles.shape == (6, 3)


def test_the_figure_is_drawn(context):
    figure, caption = NearestNeighbours(queries=2, count=3).run(context).figures["neighbours"]
    assert len(figure.axes) == 2 * 4
    assert caption == "Query images and their nearest neighbours, 2 classes unseen in pretraining"
