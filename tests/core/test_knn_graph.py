"""Neighbour graph, hop distances and pairs, compared with breadth-first search, networkx and uniform distributions."""

import logging
from collections import Counter, deque

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from fewlabels.core.errors import UserError
from fewlabels.core.knn_graph import draw_pairs, hop_distances, knn_graph


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


def test_every_point_is_connected_to_its_k_nearest_neighbours(points):
    graph = knn_graph(points, k=4)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    nearest = distances.argsort(1)[:, 1:5]
    expected = {frozenset((i, int(j))) for i, row in enumerate(nearest) for j in row}
    assert {frozenset(edge) for edge in graph.edges} == expected
    assert sorted(graph) == list(range(60))


@pytest.mark.parametrize("cutoff", [1, 3, 5])
def test_hop_distances_equal_a_breadth_first_search(points, cutoff):
    graph = knn_graph(points, k=3)
    assert hop_distances(graph, cutoff).tolist() == [breadth_first(graph, i, cutoff) for i in range(60)]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    nodes=st.integers(1, 25),
    density=st.floats(0, 0.3),
    cutoff=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
    weight=st.sampled_from([None, 0.0, 2.5]),
)
def test_hop_distances_equal_networkx_on_random_graphs(nodes, density, cutoff, seed, weight):
    graph = nx.gnp_random_graph(nodes, density, seed=seed)
    if weight is not None:
        nx.set_edge_attributes(graph, weight, "weight")
    expected = np.full((nodes, nodes), cutoff + 1)
    for node, reached in nx.all_pairs_shortest_path_length(graph, cutoff=cutoff):
        expected[node, list(reached)] = list(reached.values())
    hops = hop_distances(graph, cutoff)
    assert hops.dtype == np.int16
    assert np.array_equal(hops, expected)


def test_hop_distances_follow_node_numbers_whatever_their_order():
    graph = nx.Graph()
    graph.add_nodes_from([3, 1, 0, 2])
    graph.add_edges_from([(3, 0), (1, 2), (0, 1)])
    assert hop_distances(graph, 5)[3].tolist() == [1, 2, 3, 0]


def test_unreachable_nodes_count_as_beyond_the_cutoff():
    hops = hop_distances(nx.Graph([(0, 1), (2, 3)]), cutoff=5)
    assert hops.tolist() == [[0, 1, 6, 6], [1, 0, 6, 6], [6, 6, 0, 1], [6, 6, 1, 0]]


def test_pairs_obey_the_cutoff_and_the_seed():
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
    for drawn, candidates in ((positive, 10), (negative, 19)):
        counts = Counter(drawn.tolist())
        assert len(counts) == candidates
        assert chisquare(list(counts.values())).pvalue > 0.01
    assert abs(np.corrcoef(positive, negative)[0, 1]) < 0.03


def test_zeros_off_the_diagonal_are_neither_positive_nor_negative():
    hops = np.zeros((8, 8), np.int16)
    hops[:4, :4] = hop_distances(nx.path_graph(4), 1)
    positive, negative = draw_pairs(hops, np.tile(np.arange(4), 100), 1, torch.Generator())
    assert max(positive.max(), negative.max()) < 4


@pytest.mark.parametrize("k", [0, 60, 100])
def test_k_outside_its_range_is_rejected(points, k):
    with pytest.raises(UserError, match=rf"method\.k={k} .* 60 points"):
        knn_graph(points, k)


def test_anchors_without_a_positive_or_negative_are_rejected():
    with pytest.raises(UserError, match=r"method\.cutoff: 4 of 4 anchors have no other point more than 5 hops"):
        draw_pairs(hop_distances(nx.path_graph(4), 5), np.arange(4), 5, torch.Generator())
    isolated = nx.Graph([(0, 1)])
    isolated.add_node(2)
    with pytest.raises(UserError, match=r"method\.cutoff: 1 of 3 anchors have no other point within 5 hops"):
        draw_pairs(hop_distances(isolated, 5), np.arange(3), 5, torch.Generator())


def test_a_disconnected_graph_is_logged(caplog):
    with caplog.at_level(logging.WARNING):
        knn_graph([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]], k=2)
    assert "has 2 components" in caplog.text
