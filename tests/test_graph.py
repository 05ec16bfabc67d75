import logging
from collections import Counter, deque

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from fewlabels.errors import UserError
from fewlabels.graph import draw_pairs, hop_distances, knn_graph


@pytest.fixture(name="points")
def cloud():
    return np.random.default_rng(0).normal(size=(60, 2))


def breadth_first(graph, start, cutoff):
    hops, queue = {start: 0}, deque([start])
    while queue:
        node = queue.popleft()
        for neighbour in graph[node]:
            if neighbour not in hops:
                hops[neighbour] = hops[node] + 1
                queue.append(neighbour)
    return [min(hops.get(node, cutoff + 1), cutoff + 1) for node in range(len(graph))]


def test_every_point_is_joined_to_its_k_nearest_and_to_those_that_count_it_among_theirs(points):
    graph = knn_graph(points, k=4)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    nearest = distances.argsort(1)[:, 1:5]
    wanted = {frozenset((i, int(j))) for i, row in enumerate(nearest) for j in row}
    assert {frozenset(edge) for edge in graph.edges} == wanted
    assert sorted(graph) == list(range(60))


@pytest.mark.parametrize("cutoff", [1, 3, 5])
def test_hop_distances_are_those_of_a_plain_breadth_first_search(points, cutoff):
    graph = knn_graph(points, k=3)
    assert hop_distances(graph, cutoff).tolist() == [breadth_first(graph, i, cutoff) for i in range(60)]


def test_unreachable_counts_as_beyond_the_cutoff():
    hops = hop_distances(nx.Graph([(0, 1), (2, 3)]), cutoff=5)
    assert hops.tolist() == [[0, 1, 6, 6], [1, 0, 6, 6], [6, 6, 0, 1], [6, 6, 1, 0]]


def test_pairs_keep_to_their_definition_and_to_their_seed():
    hops = hop_distances(nx.path_graph(40), cutoff=5)
    anchors = torch.arange(40).repeat(50)
    draws = [draw_pairs(hops, anchors, 5, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    positive, negative = draws[0]
    assert torch.all(((positive - anchors).abs() >= 1) & ((positive - anchors).abs() <= 5))
    assert torch.all((negative - anchors).abs() > 5)
    assert torch.equal(positive, draws[1][0])
    assert torch.equal(negative, draws[1][1])
    assert not torch.equal(positive, draws[2][0])


def test_pairs_are_uniform_and_independent():
    hops = hop_distances(nx.path_graph(30), cutoff=5)
    positive, negative = draw_pairs(hops, np.full(20_000, 10), 5, torch.Generator().manual_seed(0))
    for drawn, allowed in ((positive, 10), (negative, 19)):
        counts = Counter(drawn.tolist())
        assert len(counts) == allowed
        assert chisquare(list(counts.values())).pvalue > 0.01
    assert abs(np.corrcoef(positive, negative)[0, 1]) < 0.03


def test_a_zero_off_the_diagonal_is_neither_near_nor_far():
    hops = np.zeros((8, 8), np.int16)
    hops[:4, :4] = hop_distances(nx.path_graph(4), 1)
    positive, negative = draw_pairs(hops, np.tile(np.arange(4), 100), 1, torch.Generator())
    assert max(positive.max(), negative.max()) < 4


@pytest.mark.parametrize("k", [0, 60, 100])
def test_k_must_be_below_the_number_of_points(points, k):
    with pytest.raises(UserError, match=rf"method\.k={k} .* 60 points"):
        knn_graph(points, k)


def test_anchors_without_partner_are_refused():
    with pytest.raises(UserError, match="4 of 4 anchors have no other point more than 5 hops"):
        draw_pairs(hop_distances(nx.path_graph(4), 5), np.arange(4), 5, torch.Generator())
    lonely = nx.Graph([(0, 1)])
    lonely.add_node(2)
    with pytest.raises(UserError, match="1 of 3 anchors have no other point within 5 hops"):
        draw_pairs(hop_distances(lonely, 5), np.arange(3), 5, torch.Generator())


def test_pieces_are_counted_aloud(caplog):
    with caplog.at_level(logging.WARNING):
        knn_graph([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]], k=2)
    assert "falls into 2 pieces" in caplog.text
