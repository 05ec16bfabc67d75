"""Distances between classes, galleries and neighbours, compared with plain loops and known geometry."""

import numpy as np
import pytest

from fewlabels.core.errors import UserError
from fewlabels.probing.class_geometry import angles_between, class_distances, galleries, neighbours
from fewlabels.probing.embeddings import Embeddings


def embeddings(vectors, labels, classes=("a", "b", "c")):
    n = len(labels)
    result = Embeddings(np.asarray(vectors, np.float32), np.asarray(labels, np.int64), np.arange(n) + 100)
    return result.described([f"{i}.png" for i in range(n)], ["test"] * n, classes)


def test_angles_between_known_directions():
    found = angles_between(np.array([[1, 0], [0, 2]]), np.array([[3, 3], [-1, 0], [0, 1]]))
    assert found == pytest.approx(np.array([[45, 180, 90], [45, 90, 0]]))


def test_orthogonal_classes_are_90_degrees_apart_with_a_silhouette_of_one():
    found = class_distances(embeddings([[1, 0], [2, 0], [0, 1], [0, 3]], [0, 0, 1, 1]))
    assert found.angles == pytest.approx(np.array([[0, 90], [90, 0]]), abs=1e-4)
    assert found.euclidean[0, 0] == pytest.approx(1)
    assert found.silhouette == pytest.approx(1)
    assert found.ratio == pytest.approx(0, abs=1e-6)
    assert found.names == ["a", "b"]


def test_mean_distances_equal_plain_loops():
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(20, 4)), np.arange(20) % 3
    found = class_distances(embeddings(vectors, labels))
    for a in range(3):
        for b in range(3):
            pairs = [(i, j) for i in range(20) for j in range(20) if i != j and (labels[i], labels[j]) == (a, b)]
            x, y = (vectors[list(side)] for side in zip(*pairs, strict=True))
            cosines = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
            assert found.angles[a, b] == pytest.approx(np.degrees(np.arccos(cosines)).mean(), rel=1e-5)
            assert found.euclidean[a, b] == pytest.approx(np.linalg.norm(x - y, axis=1).mean(), rel=1e-5)


def test_noise_has_no_structure_and_the_sample_is_limited():
    rng = np.random.default_rng(0)
    found = class_distances(embeddings(rng.normal(size=(600, 64)), np.arange(600) % 3), max_samples=300)
    assert found.n == 300
    assert abs(found.silhouette) < 0.02
    assert found.ratio == pytest.approx(1, abs=0.02)


def test_a_single_class_is_rejected():
    with pytest.raises(UserError, match="at least 2 classes of 2 labelled images; there are 1"):
        class_distances(embeddings(np.eye(3), [0, 0, 1]))


def test_galleries_are_sorted_by_angle_to_the_class_centre():
    degrees = np.radians([0, 10, 50, 20, 90, 180])
    points = embeddings(np.stack([np.cos(degrees), np.sin(degrees)], 1), [0, 0, 0, 1, 1, -1])
    first, second = galleries(points, count=2)
    assert (first.name, second.name) == ("a", "b")
    assert first.nearest.tolist() == [1, 0]  # the centre is at about 20°
    assert first.furthest.tolist() == [2, 0]
    assert first.intruders.tolist() == [3, 4]
    assert all(np.all(np.diff(angles) >= 0) for angles in (first.angles[0], first.angles[2]))


def test_neighbours_exclude_the_query_itself():
    points = embeddings([[1, 0], [1, 0.1], [0, 1], [1, 0.2]], [0, 0, 1, 0])
    rows, angles = neighbours(points.select(np.array([0, 2])), points, count=2)
    assert rows.tolist() == [[1, 3], [3, 1]]
    assert angles[0] == pytest.approx(np.degrees(np.arctan([0.1, 0.2])), abs=1e-3)


def test_the_largest_classes_keep_order_and_distances():
    rng = np.random.default_rng(0)
    found = class_distances(embeddings(rng.normal(size=(30, 4)), np.repeat([0, 1, 2], [8, 4, 18])))
    names, angles, euclidean = found.largest(2)
    assert names == ["a", "c"]
    assert np.array_equal(angles, found.angles[::2, ::2])
    assert np.array_equal(euclidean, found.euclidean[::2, ::2])
