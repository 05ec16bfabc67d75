"""Principal components, compared with a singular value decomposition, and UMAP of few samples."""

import numpy as np
import pytest

from fewlabels.probing.projections import MIN_SAMPLES, all_equal, principal_components, umap_projection


def test_principal_components_equal_the_svd_up_to_sign():
    vectors = np.random.default_rng(0).normal(size=(50, 6)) * [5, 4, 3, 2, 1, 0.5]
    points, explained = principal_components(vectors, 3)
    left, values, _ = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    assert np.abs(points) == pytest.approx(np.abs(left * values)[:, :3], abs=1e-4)
    assert explained == pytest.approx(values[:3] ** 2 / (values**2).sum())
    assert points.dtype == np.float32


def test_components_have_non_negative_skew_whatever_the_sign_of_the_data():
    vectors = np.random.default_rng(0).exponential(size=(200, 3)) * [3, 2, 1]
    points, _ = principal_components(vectors, 2)
    mirrored, _ = principal_components(-vectors, 2)
    assert np.all((points**3).sum(0) > 0)
    assert np.all((mirrored**3).sum(0) > 0)
    assert mirrored == pytest.approx(points, abs=1e-4)


def test_there_are_no_more_components_than_samples_or_dimensions():
    assert principal_components(np.eye(3)[:2], 4)[0].shape == (2, 2)
    assert principal_components(np.random.default_rng(0).normal(size=(9, 3)), 4)[0].shape == (9, 3)


def test_equal_embeddings_have_components_without_variance():
    points, variance = principal_components(np.ones((6, 3), np.float32))
    assert np.isfinite(points).all()
    assert variance.tolist() == [0, 0, 0]


def test_all_equal_ignores_rounding_errors_only():
    same = np.full((4, 2), 3.0)
    assert all_equal(same)
    assert all_equal(same + 1e-7)
    assert all_equal(np.zeros((2, 2)))
    assert not all_equal(same + 0.01 * np.eye(4, 2))


@pytest.mark.slow
def test_umap_accepts_the_fewest_samples_that_a_map_shows():
    vectors = np.random.default_rng(0).normal(size=(MIN_SAMPLES, 4)).astype(np.float32)
    plane = umap_projection(vectors, seed=0)
    assert plane.shape == (MIN_SAMPLES, 2)
    assert np.isfinite(plane).all()
