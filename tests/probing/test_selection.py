"""Selection of images to label: against plain loops, and what is chosen from clusters of known sizes."""

import numpy as np
import pytest

from fewlabels.probing import selection
from fewlabels.probing.selection import BANDWIDTH, covering, neighbour_space, typical


def unit(points):
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def blobs():
    """60, 30 and 10 points around three orthogonal directions, and their blob."""
    draw = np.random.default_rng(0)
    blob = np.repeat([0, 1, 2], [60, 30, 10])
    return unit(np.eye(8)[blob] + 0.15 * draw.normal(size=(100, 8))), blob


def covering_by_loops(points, count, labelled, weights):
    chosen = list(labelled)
    for _ in range(count):
        best = None
        for candidate in range(len(points)):
            total = 0.0
            for point, weight in zip(points, weights, strict=True):
                near = [np.exp(-(np.linalg.norm(point - points[c]) ** 2) / BANDWIDTH**2) for c in [*chosen, candidate]]
                total += weight * max(near)
            if candidate not in chosen and (best is None or total > best[0] + 1e-5):
                best = (total, candidate)
        chosen.append(best[1])
    return chosen[len(labelled) :]


@pytest.mark.parametrize("labelled", [[], [3, 15]])
def test_covering_is_greedy_coverage(labelled):
    draw = np.random.default_rng(1)
    points, weights = unit(draw.normal(size=(25, 4))), draw.uniform(size=25)
    assert covering(points, 6, labelled).tolist() == covering_by_loops(points, 6, labelled, np.ones(25))
    assert covering(points, 4, labelled, weights=weights).tolist() == covering_by_loops(points, 4, labelled, weights)


@pytest.mark.parametrize("choose", [typical, covering])
def test_every_cluster_gets_a_label_before_one_gets_two_and_the_largest_first(blobs, choose):
    points, blob = blobs
    chosen = choose(points, 3)
    assert blob[chosen[0]] == 0
    assert sorted(blob[chosen]) == [0, 1, 2]
    assert blob[choose(points, 1, labelled=np.flatnonzero(blob == 0)[:1])].tolist() == [1]


@pytest.mark.parametrize("choose", [typical, covering])
def test_as_many_as_are_asked_for_are_chosen_once_each_and_none_that_is_labelled(blobs, choose):
    points, _ = blobs
    labelled = [0, 50, 99]
    for count in (0, 1, 40, 97, 500):
        chosen = choose(points, count, labelled)
        assert len(chosen) == len(set(chosen)) == min(count, 97)
        assert not set(chosen) & set(labelled)


def test_covering_more_begins_with_covering_fewer(blobs):
    points, _ = blobs
    assert covering(points, 30)[:10].tolist() == covering(points, 10).tolist()


def test_of_many_images_covering_chooses_from_a_sample(blobs, monkeypatch):
    monkeypatch.setattr(selection, "MAX_CANDIDATES", 20)
    monkeypatch.setattr(selection, "MAX_COVERED", 50)
    points, blob = blobs
    assert len(set(covering(points, 40))) == 40  # more than candidates were drawn
    assert sorted(blob[covering(points, 3, seed=2)]) == [0, 1, 2]


def test_the_typical_image_is_the_nearest_to_its_neighbours_on_average():
    angles = np.array([0.0, 0.1, 0.11, 0.12, 0.5])
    points = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    assert typical(points, 1).tolist() == [2]


def test_clusters_of_outliers_are_chosen_from_last(blobs):
    points, _ = blobs
    outlier = unit(np.eye(8)[[7]])
    chosen = typical(np.concatenate([points, outlier]), 4)
    assert 100 not in chosen[:3]


@pytest.mark.parametrize("choose", [typical, covering])
def test_equal_images_can_be_chosen(choose):
    points = unit(np.ones((6, 3)))
    assert sorted(choose(points, 6).tolist()) == list(range(6))


def test_neighbour_space_has_points_of_length_one_and_no_common_part():
    draw = np.random.default_rng(0)
    vectors = 5 + draw.normal(size=(50, 80)) * draw.uniform(1, 9, size=(50, 1))
    points = neighbour_space(vectors)
    assert (points.shape, points.dtype) == ((50, 50), np.float32)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(neighbour_space(3 * vectors), points, atol=1e-3)
    assert np.isfinite(neighbour_space(np.zeros((4, 3)))).all()
