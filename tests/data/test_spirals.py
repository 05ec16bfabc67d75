"""Points on two spiral arms."""

import networkx as nx
import numpy as np
import pytest
import torch

from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import DataModule, PointData
from fewlabels.core.knn_graph import knn_graph
from fewlabels.data.spirals import RADIUS, Spirals, spiral

SETTINGS = {
    "n_points": 900, "noise": 0.03, "turns": 1.5, "batch_size": 64, "seed": 0,
    "val_fraction": 1 / 3, "test_fraction": 1 / 3,
}  # fmt: skip


def make(**changes):
    data = Spirals(**SETTINGS | changes)
    data.setup()
    return data


def test_spirals_satisfy_the_protocol():
    data: DataModule = make()
    members = {*DataModule.__annotations__, *vars(DataModule), *PointData.__annotations__, *vars(PointData)}
    public = {name for name in members if not name.startswith("_")}
    assert {"modality", "root", "fingerprint", "store_key", "unseen_classes", "points", "position"} <= public
    assert {name for name in public if not hasattr(data, name)} == set()
    assert data.modality == "points"
    assert data.seen_classes == data.classes
    assert data.unseen_classes == []
    assert data.root is data.fingerprint is data.store_key is data.size is None


def test_arms_are_point_reflections_and_end_at_the_radius():
    position = np.linspace(0, 1, 50)
    assert np.allclose(spiral(position, 1.5), -spiral(-position, 1.5))
    assert np.allclose(np.linalg.norm(spiral(np.array([-1.0, 0.0, 1.0]), 2.0), axis=1), [RADIUS, 0, RADIUS])


def test_position_is_proportional_to_arc_length():
    curve = spiral(np.linspace(-1, 1, 2001), 1.5)
    steps = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    assert steps.std() / steps.mean() < 0.01
    assert np.all(np.diff(np.linalg.norm(curve[1000:], axis=1)) > 0)


def test_without_noise_points_are_on_the_curve_and_labels_are_the_arms():
    data = make(noise=0.0)
    assert np.allclose(data.points("test"), spiral(data.position("test").astype(float), 1.5), atol=1e-5)
    assert np.array_equal(data.labels[data.indices("test")] == 0, data.position("test") >= 0)


def test_coordinates_have_unit_variance_and_the_given_noise():
    data = make()
    assert np.allclose(data.points("train").var(0), 1, atol=0.15)
    clean = spiral(data.position("train").astype(float), 1.5)
    assert np.isclose((data.points("train") - clean).std(), 0.03, rtol=0.1)


def test_splits_are_disjoint_and_cover_the_curve_evenly():
    data = make()
    rows = np.concatenate([data.indices(split) for split in ("train", "val", "test")])
    assert sorted(rows) == list(range(900))
    for split in ("train", "val", "test"):
        assert np.histogram(data.position(split), 30, (-1, 1))[0].tolist() == [10] * 30
    assert len(data.indices("unseen")) == 0


def test_points_depend_on_the_seed_only():
    assert np.array_equal(make().points("val"), make().points("val"))
    assert not np.array_equal(make().points("val"), make(seed=1).points("val"))


@pytest.mark.parametrize("seed", range(10))
def test_the_neighbour_graph_is_connected_and_never_links_the_arms(seed):
    data = make(seed=seed)
    for split in ("train", "val", "test"):
        graph, position = knn_graph(data.points(split)), data.position(split)
        assert nx.is_connected(graph)
        assert max(abs(position[i] - position[j]) for i, j in graph.edges) < 0.1


def test_loaders_yield_batches_of_points():
    data = make(passes=3)
    batches = list(data.train_dataloader())
    assert len(batches) == 3 * 300 // 64
    assert batches[0].x.dtype == torch.float32
    assert batches[0].x.shape == (64, 2)
    coordinates = torch.cat([batch.x for batch in batches]).numpy()
    index = torch.cat([batch.index for batch in batches]).numpy()
    assert np.array_equal(coordinates, data.points("train")[index])  # training rows come first
    assert np.bincount(index).max() <= 3
    test_batches = list(data.loader("test", batch_size=77))
    assert np.array_equal(torch.cat([b.index for b in test_batches]), data.indices("test"))
    assert sum(len(b.x) for b in data.val_dataloader()) == 300


@pytest.mark.parametrize(
    ("key", "value"),
    [("n_points", 0), ("noise", -0.1), ("turns", 0), ("batch_size", 0), ("val_fraction", 0.9), ("passes", 0)],
)
def test_errors_name_the_setting_that_is_out_of_range(key, value):
    with pytest.raises(UserError, match=rf"data\.{key}={value}"):
        make(**{key: value})
