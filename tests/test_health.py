"""Health: closed forms, and verdicts on networks whose state is known."""

import math

import numpy as np
import pytest

from fewlabels.health import COLLAPSED, HEALTHY, LEARNING, alignment, effective_rank, examine, spread, uniformity

RNG = np.random.default_rng(0)


def test_alignment_by_hand():
    one, other = np.array([[1.0, 0], [0, 2]]), np.array([[5.0, 0], [3, 0]])
    assert alignment(one, other) == pytest.approx((0 + 2) / 2)


def test_uniformity_is_0_of_one_point_and_that_of_plain_loops_otherwise():
    assert uniformity(np.ones((5, 3))) == pytest.approx(0, abs=1e-9)
    x = RNG.normal(size=(12, 3))
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    pairs = [math.exp(-2 * ((u[i] - u[j]) ** 2).sum()) for i in range(12) for j in range(i)]
    assert uniformity(x) == pytest.approx(math.log(sum(pairs) / len(pairs)))


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank_counts_directions_of_equal_strength(rank):
    points = np.concatenate([np.eye(8)[:rank], -np.eye(8)[:rank]])
    assert effective_rank(points) == pytest.approx(rank, rel=1e-6)
    assert effective_rank(points + 100) == pytest.approx(rank, rel=1e-6), "a shift shared by all does not count"


def test_one_point_has_no_rank_and_no_spread():
    assert effective_rank(np.ones((6, 4))) == 0
    assert spread(np.ones((6, 4))) == pytest.approx(0)


def test_spread_of_the_uniform_sphere_is_1():
    assert spread(RNG.normal(size=(20_000, 16))) == pytest.approx(1, abs=0.01)


KNOWN = {"loss": 2.0, "loss_chance": 5.5, "knn_accuracy": 0.6, "knn_accuracy_untrained": 0.4}


def views(n=300, d=32, apart=0.1):
    points = RNG.normal(size=(n, d))
    return points + apart * RNG.normal(size=(n, d)), points + apart * RNG.normal(size=(n, d))


def test_a_spread_network_that_beats_its_beginning_is_healthy():
    assert examine(*views(), KNOWN).verdict == HEALTHY


@pytest.mark.parametrize("noise", [0, 1e-3])
def test_a_constant_network_is_collapsed_whatever_its_loss(noise):
    one, other = (1 + noise * x for x in views())
    found = examine(one, other, KNOWN)
    assert found.verdict == COLLAPSED
    assert "learning rate" in found.advice


def test_a_network_on_a_line_is_collapsed():
    line = RNG.normal(size=(300, 1)) * np.ones((1, 32))
    assert examine(line, line, KNOWN).verdict == COLLAPSED


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"loss": 5.5, "loss_chance": 5.5},
        {"loss": 5.4, "loss_chance": 5.5, "knn_accuracy": 0.4, "knn_accuracy_untrained": 0.4},
        {"knn_accuracy": 0.4, "knn_accuracy_untrained": 0.4},
        {"loss": 2.0, "loss_chance": 5.5, "knn_accuracy": 0.3, "knn_accuracy_untrained": 0.4},
    ],
)
def test_a_network_that_shows_no_gain_is_not_called_healthy(known):
    assert examine(*views(), known).verdict == LEARNING
