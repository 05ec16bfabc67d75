import math

import numpy as np
import pytest

from fewlabels.embeddings import Embeddings
from fewlabels.probes import knn_accuracy


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
