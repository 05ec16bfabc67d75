"""Extraction in eval mode, selection, and Parquet files."""

import copy

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from fewlabels.core.backbones import blocks, vision
from fewlabels.core.batch import Batch
from fewlabels.core.errors import UserError
from fewlabels.probing.embeddings import Embeddings, calibrate_batch_norms, extract, pooled_blocks, sample


def batches(*sizes):
    """Points whose coordinates are their index, in a shuffled but fixed order."""
    order = torch.randperm(sum(sizes), generator=torch.Generator().manual_seed(0))
    return [Batch(index[:, None] * torch.tensor([1.0, 10.0]), index % 3 - 1, index) for index in order.split(sizes)]


def test_vectors_labels_and_index_are_in_the_order_of_the_loader():
    loader = batches(4, 4, 3)
    found = extract(lambda x: 2 * x, loader, nn.Identity())
    assert np.array_equal(found.index, torch.cat([batch.index for batch in loader]))
    assert np.array_equal(found.vectors, 2 * found.index[:, None] * np.array([1.0, 10.0]))
    assert np.array_equal(found.labels, found.index % 3 - 1)
    assert (found.vectors.dtype, found.labels.dtype, found.index.dtype) == (np.float32, np.int64, np.int64)


def partly_frozen():
    network = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(4)))
    network.train()
    network[1].eval()
    network[2][0].eval()
    return network


def state(network):
    return [module.training for module in network.modules()], {k: v.clone() for k, v in network.state_dict().items()}


def test_extract_restores_the_mode_of_every_submodule_and_changes_no_statistics():
    network = partly_frozen()
    modes, weights = state(network)
    found = extract(network, batches(4, 4), network)
    after, weights_after = state(network)
    assert modes == after
    assert modes == [True, True, False, True, False, True]
    assert all(torch.equal(weights[k], weights_after[k]) for k in weights)
    expected = network.eval()(torch.cat([batch.x for batch in batches(4, 4)])).detach()
    assert np.allclose(found.vectors, expected)  # all submodules in eval mode


def test_extract_restores_modes_after_an_error():
    network = partly_frozen()
    modes, _ = state(network)
    with pytest.raises(RuntimeError):
        extract(network, [Batch(torch.zeros(2, 5), torch.zeros(2), torch.zeros(2))], network)
    assert state(network)[0] == modes
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_training_continues_after_extract():
    network = partly_frozen()
    extract(network, batches(4, 4), network)
    assert torch.is_grad_enabled()
    network(torch.randn(4, 2)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_extract_uses_the_context_and_returns_float32():
    network = nn.Linear(2, 3)
    outputs = []
    found = extract(
        lambda x: outputs.append(network(x)) or outputs[-1],
        batches(4),
        network,
        context=torch.autocast("cpu", torch.bfloat16),
    )
    assert outputs[0].dtype == torch.bfloat16
    assert found.vectors.dtype == np.float32
    assert not torch.is_autocast_enabled("cpu")


def described(n=6):
    rng = np.random.default_rng(0)
    found = Embeddings(rng.normal(size=(n, 3)).astype(np.float32), np.arange(n) % 3 - 1, np.arange(n) * 7)
    return found.described([f"class/ü {i}.png" for i in range(n)], ["train", "unseen"] * (n // 2), ["a", "b, c"])


def test_embeddings_round_trip_through_parquet(tmp_path):
    before = described()
    before.save(tmp_path / "embeddings.parquet")
    after = Embeddings.load(tmp_path / "embeddings.parquet")
    for name in ("vectors", "labels", "index", "paths", "splits"):
        one, other = getattr(before, name), getattr(after, name)
        assert np.array_equal(one, other), name
        assert one.dtype.kind == other.dtype.kind, name
    assert after.classes == ("a", "b, c")
    assert [path.name for path in tmp_path.iterdir()] == ["embeddings.parquet"]


PROVENANCE = {"checkpoint": "ab" * 32, "store": "µ-key"}


def test_provenance_round_trips_through_parquet(tmp_path):
    described().save(tmp_path / "argument.parquet", PROVENANCE)
    loaded = Embeddings.load(tmp_path / "argument.parquet")
    assert loaded.provenance == PROVENANCE
    loaded.save(tmp_path / "again.parquet")
    assert Embeddings.load(tmp_path / "again.parquet").provenance == PROVENANCE
    loaded.save(tmp_path / "other.parquet", {"checkpoint": "cd"})
    assert Embeddings.load(tmp_path / "other.parquet").provenance == {"checkpoint": "cd"}


def test_files_without_provenance_are_readable(tmp_path):
    import pyarrow.parquet as pq

    described().save(tmp_path / "a.parquet", PROVENANCE)
    table = pq.read_table(tmp_path / "a.parquet")
    pq.write_table(table.replace_schema_metadata({"classes": '["a"]'}), tmp_path / "old.parquet")
    assert Embeddings.load(tmp_path / "old.parquet").provenance == {}


def test_selecting_and_describing_keep_the_provenance():
    found = Embeddings(np.zeros((2, 3), np.float32), np.array([0, 1]), np.arange(2), provenance=PROVENANCE)
    assert found.described(["a", "b"], ["test", "test"], ["x", "y"]).provenance == PROVENANCE
    assert found.select(np.array([1])).provenance == PROVENANCE


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    def interrupted_write(table, where):
        where.write_bytes(b"PAR1")
        raise OSError("disk full")

    described().save(tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    monkeypatch.setattr("pyarrow.parquet.write_table", interrupted_write)
    with pytest.raises(OSError, match="disk full"):
        described().save(tmp_path / "a.parquet", PROVENANCE)
    assert (tmp_path / "a.parquet").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_parquet_files_are_readable_by_pandas(tmp_path):
    described().save(tmp_path / "embeddings.parquet")
    table = pd.read_parquet(tmp_path / "embeddings.parquet")
    assert list(table.columns) == ["path", "split", "label", "index", "embedding"]
    assert len(table["embedding"][0]) == 3


def test_unknown_metadata_stay_empty_through_parquet(tmp_path):
    Embeddings(np.zeros((2, 3), np.float32), np.array([0, -1]), np.arange(2)).save(tmp_path / "e.parquet")
    after = Embeddings.load(tmp_path / "e.parquet")
    assert (len(after.paths), len(after.splits), after.classes, after.provenance) == (0, 0, (), {})


def test_other_files_are_rejected(tmp_path):
    (tmp_path / "text").write_text("not a table")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    for name in ("text", "other.parquet", "nothing"):
        with pytest.raises(UserError, match=rf"{name} is not a table of embeddings .* that evaluate\.py wrote"):
            Embeddings.load(tmp_path / name)


def test_select_by_mask_and_by_row_numbers_agree():
    part, same = described().select(np.arange(6) % 2 == 1), described().select(np.array([1, 3, 5]))
    assert np.array_equal(part.paths, same.paths)
    assert np.array_equal(part.vectors, same.vectors)
    assert set(part.splits) == {"unseen"}


def test_sample_draws_sorted_rows_without_repetition():
    rows = np.arange(100) * 3
    drawn = sample(rows, 10, seed=1)
    assert len(drawn) == 10
    assert np.all(np.diff(drawn) > 0)
    assert set(drawn) <= set(rows)
    assert np.array_equal(drawn, sample(rows, 10, seed=1))
    assert not np.array_equal(drawn, sample(rows, 10, seed=2))
    assert np.array_equal(sample(rows, 1000), rows)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "vit_b_16"])
def test_pooled_blocks_concatenates_the_averages_of_all_blocks(name):
    backbone = vision(name=name, channels=1, size=64, mean=[0.5], std=[0.25]).eval()
    stages = blocks(backbone)
    embed = pooled_blocks(backbone, stages)
    with torch.no_grad():
        pooled = embed(torch.zeros(2, 1, 64, 64))
        assert sum(embed.sizes) == pooled.shape[1]
        assert len(embed.sizes) == len(stages) <= 8
        if name == "resnet18":  # the average of its last block is the embedding
            torch.testing.assert_close(pooled[:, -embed.sizes[-1] :], backbone(torch.zeros(2, 1, 64, 64)))
    assert not any(module._forward_hooks for module in backbone.modules())


def inputs(*sizes, features=2):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(size, features, generator=generator) * 3 + 5 for size in sizes]


def test_calibrated_statistics_are_those_of_a_pass_in_train_mode_with_a_cumulative_average():
    calibrated = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3), nn.BatchNorm1d(3))
    expected = copy.deepcopy(calibrated).train()
    for norm in (expected[1], expected[4]):
        norm.momentum = None
    with torch.no_grad():
        for x in inputs(8, 8, 6):
            expected(x)
    calibrate_batch_norms(calibrated.eval(), inputs(8, 8, 6))
    for norm, reference in zip((calibrated[1], calibrated[4]), (expected[1], expected[4]), strict=True):
        assert torch.allclose(norm.running_mean, reference.running_mean)
        assert torch.allclose(norm.running_var, reference.running_var)
    first = calibrated[0](torch.cat(inputs(8, 8, 6)))[:16].detach()
    means = torch.stack([part.mean(0) for part in (*first.split(8), calibrated[0](inputs(8, 8, 6)[2]).detach())])
    assert torch.allclose(calibrated[1].running_mean, means.mean(0), atol=1e-5)  # closed form


def test_calibration_changes_no_parameter_no_mode_and_no_random_state():
    network = partly_frozen()
    modes, before = state(network)
    random_state = torch.get_rng_state()
    calibrate_batch_norms(network, inputs(8, 1, 8))
    after, weights = state(network)
    assert modes == after
    assert torch.equal(torch.get_rng_state(), random_state)  # dropout stays off
    changed = {name for name in weights if not torch.equal(weights[name], before[name])}
    assert changed == {f"{norm}.running_{kind}" for norm in ("1", "2.1") for kind in ("mean", "var")}
    once = {name: value.clone() for name, value in network.state_dict().items()}
    calibrate_batch_norms(network, inputs(8, 1, 8))  # starts anew
    assert all(torch.equal(value, once[name]) for name, value in network.state_dict().items())


def test_a_network_without_batch_norms_reads_no_batch():
    calibrate_batch_norms(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), iter([None]))


def test_calibration_restores_modes_and_hooks_after_an_error():
    network = partly_frozen()
    modes, _ = state(network)
    with pytest.raises(RuntimeError):
        calibrate_batch_norms(network, [torch.zeros(2, 5)])
    assert state(network)[0] == modes
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("column", ["vectors", "index", "paths"])
def test_columns_of_different_lengths_are_refused(column):
    columns = {"vectors": np.zeros((3, 2), np.float32), "labels": np.zeros(3, np.int64), "index": np.arange(3)}
    columns["paths"] = np.array(["a", "b", "c"])
    with pytest.raises(ValueError, match=r"not \[2, 3\]"):
        Embeddings(**columns | {column: columns[column][:2]})


def test_file_names_that_are_not_utf8_round_trip_through_parquet(tmp_path):
    odd = ["caf\udce9/%E9.png", "caf%E9/1.png", "plain.png", "\udcff", "%25", "ü"]
    before = described().described(odd, ["train", "test"] * 3, ["caf\udce9", "b"])
    before.save(tmp_path / "embeddings.parquet")
    after = Embeddings.load(tmp_path / "embeddings.parquet")
    assert (after.paths.tolist(), after.classes) == (odd, ("caf\udce9", "b"))
    written = pq.read_table(tmp_path / "embeddings.parquet")
    assert written.column("path").to_pylist()[:2] == ["caf%E9/%25E9.png", "caf%25E9/1.png"]
    described().described(odd[1:3] * 3, ["train"] * 6, ["a", "b"]).save(tmp_path / "utf8.parquet")
    assert pq.read_table(tmp_path / "utf8.parquet").column("path").to_pylist()[:2] == odd[1:3]  # as they are
    assert Embeddings.load(tmp_path / "utf8.parquet").paths.tolist() == odd[1:3] * 3
