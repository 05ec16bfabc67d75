import networkx as nx
import numpy as np
import pytest
import torch

from fewlabels.data.spirals import RADIUS, Spirals, spiral
from fewlabels.errors import UserError
from fewlabels.graph import knn_graph

SETTINGS = {
    "n_points": 900, "noise": 0.03, "turns": 1.5, "batch_size": 64, "seed": 0,
    "val_fraction": 1 / 3, "test_fraction": 1 / 3,
}  # fmt: skip


def made(**changes):
    data = Spirals(**SETTINGS | changes)
    data.setup()
    return data


def test_arms_reflect_each_other_in_the_origin_and_end_at_the_radius():
    position = np.linspace(0, 1, 50)
    assert np.allclose(spiral(position, 1.5), -spiral(-position, 1.5))
    assert np.allclose(np.linalg.norm(spiral(np.array([-1.0, 0.0, 1.0]), 2.0), axis=1), [RADIUS, 0, RADIUS])


def test_radius_and_arc_length_grow_evenly_with_position():
    curve = spiral(np.linspace(-1, 1, 2001), 1.5)
    steps = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    assert steps.std() / steps.mean() < 0.01
    assert np.all(np.diff(np.linalg.norm(curve[1000:], axis=1)) > 0)


def test_without_noise_the_points_are_on_the_curve_and_labels_name_the_arm():
    data = made(noise=0.0)
    assert np.allclose(data.points("test"), spiral(data.position("test").astype(float), 1.5), atol=1e-5)
    assert np.array_equal(data.labels[data.indices("test")] == 0, data.position("test") >= 0)


def test_coordinates_have_about_unit_variance_and_the_noise_asked_for():
    data = made()
    assert np.allclose(data.points("train").var(0), 1, atol=0.15)
    clean = spiral(data.position("train").astype(float), 1.5)
    assert np.isclose((data.points("train") - clean).std(), 0.03, rtol=0.1)


def test_every_split_covers_the_curve_evenly_and_none_shares_a_row():
    data = made()
    rows = np.concatenate([data.indices(split) for split in ("train", "val", "test")])
    assert sorted(rows) == list(range(900))
    for split in ("train", "val", "test"):
        assert np.histogram(data.position(split), 30, (-1, 1))[0].tolist() == [10] * 30
    assert len(data.indices("unseen")) == 0


def test_a_seed_gives_the_same_points_and_another_gives_others():
    assert np.array_equal(made().points("val"), made().points("val"))
    assert not np.array_equal(made().points("val"), made(seed=1).points("val"))


@pytest.mark.parametrize("seed", range(10))
def test_the_neighbour_graph_is_whole_and_never_jumps_from_arm_to_arm(seed):
    data = made(seed=seed)
    for split in ("train", "val", "test"):
        graph, position = knn_graph(data.points(split)), data.position(split)
        assert nx.is_connected(graph)
        assert max(abs(position[i] - position[j]) for i, j in graph.edges) < 0.1


def test_loaders_give_batches_of_points():
    data = made(passes=3)
    batches = list(data.train_dataloader())
    assert len(batches) == 3 * 300 // 64
    assert batches[0].x.dtype == torch.float32
    assert batches[0].x.shape == (64, 2)
    shown = torch.cat([batch.x for batch in batches]).numpy()
    index = torch.cat([batch.index for batch in batches]).numpy()
    assert np.array_equal(shown, data.points("train")[index])  # training rows come first
    assert np.bincount(index).max() <= 3
    whole = list(data.loader("test", batch_size=77))
    assert np.array_equal(torch.cat([b.index for b in whole]), data.indices("test"))
    assert sum(len(b.x) for b in data.val_dataloader()) == 300


@pytest.mark.parametrize(
    ("key", "value"),
    [("n_points", 0), ("noise", -0.1), ("turns", 0), ("batch_size", 0), ("val_fraction", 0.9), ("passes", 0)],
)
def test_settings_out_of_range_are_refused_by_name(key, value):
    with pytest.raises(UserError, match=rf"data\.{key}={value}"):
        made(**{key: value})
