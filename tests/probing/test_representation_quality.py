"""Representation quality: closed forms, and verdicts on embeddings whose state is known."""

import math

import numpy as np
import pytest

from fewlabels.probing.representation_quality import (
    COLLAPSED,
    GOOD,
    LEARNING,
    alignment,
    assess,
    effective_rank,
    spread,
    uniformity,
)

RNG = np.random.default_rng(0)


def test_alignment_of_known_vectors():
    one, other = np.array([[1.0, 0], [0, 2]]), np.array([[5.0, 0], [3, 0]])
    assert alignment(one, other) == pytest.approx((0 + 2) / 2)


def test_uniformity_is_zero_for_equal_vectors_and_else_equals_plain_loops():
    assert uniformity(np.ones((5, 3))) == pytest.approx(0, abs=1e-9)
    x = RNG.normal(size=(12, 3))
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    pairs = [math.exp(-2 * ((u[i] - u[j]) ** 2).sum()) for i in range(12) for j in range(i)]
    assert uniformity(x) == pytest.approx(math.log(sum(pairs) / len(pairs)))


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank_counts_dimensions_of_equal_variance(rank):
    points = np.concatenate([np.eye(8)[:rank], -np.eye(8)[:rank]])
    assert effective_rank(points) == pytest.approx(rank, rel=1e-6)
    assert effective_rank(points + 100) == pytest.approx(rank, rel=1e-6), "the mean must not count"


def test_equal_vectors_have_no_rank_and_no_spread():
    assert effective_rank(np.ones((6, 4))) == 0
    assert spread(np.ones((6, 4))) == pytest.approx(0)


def test_spread_is_one_on_the_uniform_sphere():
    assert spread(RNG.normal(size=(20_000, 16))) == pytest.approx(1, abs=0.01)


KNOWN = {"loss": 2.0, "loss_chance": 5.5, "knn_accuracy": 0.6, "knn_accuracy_untrained": 0.4}


def views(n=300, d=32, noise=0.1):
    points = RNG.normal(size=(n, d))
    return points + noise * RNG.normal(size=(n, d)), points + noise * RNG.normal(size=(n, d))


def test_a_network_better_than_untrained_is_good():
    report = assess(*views(), KNOWN)
    assert report.verdict == GOOD == "good"
    assert "val kNN accuracy 60.0% (before training 40.0%)" in report.reason
    assert report.numbers.keys() == {"alignment", "uniformity", "effective_rank", "spread", *KNOWN}


@pytest.mark.parametrize("noise", [0, 1e-3])
def test_nearly_constant_embeddings_are_collapsed_whatever_the_loss(noise):
    one, other = (1 + noise * x for x in views())
    report = assess(one, other, KNOWN)
    assert report.verdict == COLLAPSED == "collapsed"
    assert "nearly the same embedding (effective rank" in report.reason
    assert "learning rate" in report.advice


def test_embeddings_on_a_line_are_collapsed():
    line = RNG.normal(size=(300, 1)) * np.ones((1, 32))
    assert assess(line, line, KNOWN).verdict == COLLAPSED


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({}, "no metric shows that the network has been trained"),
        ({"loss": 5.5, "loss_chance": 5.5}, "val loss 5.50 is close to its chance level 5.50"),
        (
            {"loss": 5.4, "loss_chance": 5.5, "knn_accuracy": 0.4, "knn_accuracy_untrained": 0.4},
            "val loss 5.40 is close to its chance level 5.50",
        ),
        (
            {"knn_accuracy": 0.4, "knn_accuracy_untrained": 0.4},
            "no metric shows that the network has been trained",
        ),
        (
            {"loss": 2.0, "loss_chance": 5.5, "knn_accuracy": 0.3, "knn_accuracy_untrained": 0.4},
            "val kNN accuracy 30.0% is not above the 40.0% of the network before training",
        ),
    ],
)
def test_a_network_without_gain_is_undertrained(known, reason):
    report = assess(*views(), known)
    assert (report.verdict, report.reason) == (LEARNING, reason)
    assert LEARNING == "undertrained"
