import math

import numpy as np
import pytest

from fewlabels import probes
from fewlabels.embeddings import Embeddings
from fewlabels.errors import UserError
from fewlabels.probes import (
    PROBES,
    few_label_accuracy,
    interval,
    knn_accuracy,
    label_budgets,
    label_efficiency,
    pixel_components,
    stratified_draw,
)


def embeddings(vectors, labels):
    return Embeddings(np.asarray(vectors, np.float32), np.asarray(labels, np.int64), np.arange(len(labels)))


def clouds(seed, n=40, spread=0.1):
    """Three directions; lengths say nothing."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    vectors = np.eye(3)[labels] + spread * rng.normal(size=(n, 3))
    return embeddings(vectors * rng.uniform(0.1, 10, size=(n, 1)), labels)


def test_separable_classes_are_all_told():
    assert knn_accuracy(clouds(0), clouds(1), neighbours=5) == 1.0


def knn_by_loops(train, test, k):
    right = 0
    for vector, label in zip(test.vectors, test.labels, strict=True):
        cosine = [v @ vector / np.linalg.norm(v) / np.linalg.norm(vector) for v in train.vectors]
        votes = train.labels[np.argsort(cosine)[::-1][:k]].tolist()
        right += max(sorted(set(votes)), key=votes.count) == label
    return right / len(test.labels)


@pytest.mark.parametrize("neighbours", [1, 5, 20])
def test_accuracy_is_that_of_plain_loops(neighbours):
    train, test = clouds(0, spread=1.0), clouds(1, n=60, spread=1.0)
    accuracy = knn_accuracy(train, test, neighbours=neighbours)
    assert accuracy == pytest.approx(knn_by_loops(train, test, neighbours))
    assert 0.3 < accuracy < 1


def test_the_unlabelled_are_left_out_on_both_sides():
    train, test = clouds(0), clouds(1)
    misleading = embeddings(np.concatenate([train.vectors, test.vectors]), np.r_[train.labels, np.full(40, -1)])
    asked = embeddings(np.concatenate([test.vectors, test.vectors]), np.r_[test.labels, np.full(40, -1)])
    assert knn_accuracy(misleading, asked, neighbours=1) == 1.0


def test_fewer_samples_than_neighbours_all_vote():
    train = embeddings([[1, 0], [1, 0.1], [0, 1]], [0, 0, 1])
    assert knn_accuracy(train, embeddings([[0, 1], [1, 0]], [1, 0]), neighbours=20) == 0.5


def test_without_labels_there_is_no_accuracy():
    blind = embeddings(np.ones((4, 3)), [-1] * 4)
    assert math.isnan(knn_accuracy(blind, clouds(0)))
    assert math.isnan(knn_accuracy(clouds(0), blind))


def test_one_class_alone_gives_nothing_to_tell():
    one = embeddings(np.ones((4, 3)), [0] * 4)
    assert math.isnan(knn_accuracy(one, one))


@pytest.mark.parametrize("probe", PROBES)
def test_separable_classes_are_told_from_few_labels(probe):
    labels = np.arange(90) % 3
    train, test = (
        embeddings(10 * np.eye(3)[labels] + np.random.default_rng(seed).normal(size=(90, 3)), labels) for seed in (0, 1)
    )
    assert few_label_accuracy(train, test, probe=probe, labels=30, draws=3) == pytest.approx(1)


@pytest.mark.parametrize("probe", PROBES)
def test_shuffled_labels_give_chance(probe):
    train, test = clouds(0, n=600), clouds(1, n=600)
    shuffled = embeddings(train.vectors, np.random.default_rng(2).permutation(train.labels))
    mean, half = interval(few_label_accuracy(shuffled, test, probe=probe, labels=120, draws=12))
    assert abs(mean - 1 / 3) < max(2 * half, 0.02)


def test_the_same_seed_gives_the_same_numbers_and_another_others():
    sources = {"a": (clouds(0, spread=1.0, n=200), clouds(1, spread=1.0, n=100))}
    one, two, other = (label_efficiency(sources, draws=2, seed=seed) for seed in (0, 0, 1))
    assert one.equals(two)
    assert not one.equals(other)


@pytest.mark.parametrize("probe", PROBES)
def test_what_is_asked_never_enters_scaler_or_fit(probe):
    train, test = clouds(0, spread=0.8, n=90), clouds(1, spread=0.8, n=60)
    far = embeddings(np.concatenate([test.vectors, 1e6 * np.ones((60, 3))]), np.r_[test.labels, np.full(60, -1)])
    plain = few_label_accuracy(train, test, probe=probe, labels=60, draws=3)
    assert few_label_accuracy(train, far, probe=probe, labels=60, draws=3) == pytest.approx(plain)
    assert plain.max() < 1, "for the test, the classes were to overlap"


def test_all_sources_get_the_same_labels_and_small_budgets_are_in_large_ones(monkeypatch):
    drawn = []
    monkeypatch.setattr(probes, "probe_accuracy", lambda known, *_: drawn.append(known.index) or 0.5)
    train, test = clouds(0, n=100), clouds(1, n=30)
    table = label_efficiency({"a": (train, test), "b": (train, test)}, budgets=[10, 50], probes=["knn"], draws=1)
    assert len(table) == 4
    small, same, large, _ = drawn
    assert np.array_equal(small, same)
    assert set(small) < set(large)
    assert len(large) == 50


def test_draws_are_stratified_and_their_beginnings_are_the_smaller_draws():
    labels = np.r_[np.zeros(100, np.int64), np.ones(10, np.int64), np.full(20, -1)]
    drawn = stratified_draw(labels, 30, seed=0)
    assert np.bincount(labels[drawn]).tolist() == [20, 10]
    assert np.array_equal(stratified_draw(labels, 8, seed=0), drawn[:8])
    assert len(set(drawn)) == 30


def test_budgets_go_in_steps_to_all_there_is():
    assert label_budgets(250, 3) == [30, 40, 50, 60, 70, 80, 90, 100, 200, 250]
    assert label_budgets(3000, 60)[0] == 200
    with pytest.raises(UserError, match=r"25 labelled images of 3 classes are too few .* 30 labels"):
        label_budgets(25, 3)


def test_one_class_and_broken_embeddings_are_refused():
    one = embeddings(np.ones((40, 3)), [0] * 40)
    with pytest.raises(UserError, match="nothing to tell"):
        few_label_accuracy(one, one, probe="svc", labels=30)
    broken = clouds(0)
    broken.vectors[3] = np.nan
    with pytest.raises(UserError, match="1 of 40 embeddings are not finite"):
        few_label_accuracy(broken, clouds(1), probe="svc", labels=30)


def test_an_interval_is_students():
    mean, half = interval([1.0, 2.0, 3.0, 4.0])
    assert mean == 2.5
    assert half == pytest.approx(3.182446 * np.std([1, 2, 3, 4], ddof=1) / 2, rel=1e-6)
    assert math.isnan(interval([1.0])[1])


def test_components_of_pixels_see_the_training_images_alone():
    rng = np.random.default_rng(0)
    train, asked = (rng.integers(0, 256, (40, 1, 8, 8), np.uint8) for _ in range(2))
    alone = pixel_components(train, asked[:5], count=4)[0]
    together = pixel_components(train, asked, count=4)[0]
    assert alone.shape == (5, 4)
    np.testing.assert_allclose(alone, together[:5], rtol=1e-4, atol=1e-4)
