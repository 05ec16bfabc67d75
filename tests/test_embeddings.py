import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from fewlabels.backbones import blocks, vision
from fewlabels.batch import Batch
from fewlabels.embeddings import Embeddings, extract, pooled_blocks
from fewlabels.errors import UserError


def batches(*sizes):
    """Points whose coordinates are their index, in a shuffled but fixed order."""
    order = torch.randperm(sum(sizes), generator=torch.Generator().manual_seed(0))
    return [Batch(index[:, None] * torch.tensor([1.0, 10.0]), index % 3 - 1, index) for index in order.split(sizes)]


def test_vectors_labels_and_index_stay_together_in_the_loaders_order():
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


def test_every_submodule_gets_its_own_mode_back_and_no_statistics_move():
    network = partly_frozen()
    modes, weights = state(network)
    found = extract(network, batches(4, 4), network)
    after, weights_after = state(network)
    assert modes == after
    assert modes == [True, True, False, True, False, True]
    assert all(torch.equal(weights[k], weights_after[k]) for k in weights)
    expected = network.eval()(torch.cat([batch.x for batch in batches(4, 4)])).detach()
    assert np.allclose(found.vectors, expected)  # of the whole network in eval mode


def test_modes_come_back_after_an_error_too():
    network = partly_frozen()
    modes, _ = state(network)
    with pytest.raises(RuntimeError):
        extract(network, [Batch(torch.zeros(2, 5), torch.zeros(2), torch.zeros(2))], network)
    assert state(network)[0] == modes
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_training_goes_on_afterwards():
    network = partly_frozen()
    extract(network, batches(4, 4), network)
    assert torch.is_grad_enabled()
    network(torch.randn(4, 2)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_it_runs_within_the_context_and_answers_float32():
    network = nn.Linear(2, 3)
    seen = []
    found = extract(
        lambda x: seen.append(network(x)) or seen[-1],
        batches(4),
        network,
        context=torch.autocast("cpu", torch.bfloat16),
    )
    assert seen[0].dtype == torch.bfloat16
    assert found.vectors.dtype == np.float32
    assert not torch.is_autocast_enabled("cpu")


def known(n=6):
    rng = np.random.default_rng(0)
    found = Embeddings(rng.normal(size=(n, 3)).astype(np.float32), np.arange(n) % 3 - 1, np.arange(n) * 7)
    return found.described([f"class/ü {i}.png" for i in range(n)], ["train", "unseen"] * (n // 2), ["a", "b, c"])


def test_parquet_brings_everything_back(tmp_path):
    before = known()
    before.save(tmp_path / "embeddings.parquet")
    after = Embeddings.load(tmp_path / "embeddings.parquet")
    for name in ("vectors", "labels", "index", "paths", "splits"):
        one, other = getattr(before, name), getattr(after, name)
        assert np.array_equal(one, other), name
        assert one.dtype.kind == other.dtype.kind, name
    assert after.classes == ("a", "b, c")
    assert [path.name for path in tmp_path.iterdir()] == ["embeddings.parquet"]


def test_parquet_is_readable_by_others(tmp_path):
    known().save(tmp_path / "embeddings.parquet")
    table = pd.read_parquet(tmp_path / "embeddings.parquet")
    assert list(table.columns) == ["path", "split", "label", "index", "embedding"]
    assert len(table["embedding"][0]) == 3


def test_what_nobody_said_stays_unsaid(tmp_path):
    Embeddings(np.zeros((2, 3), np.float32), np.array([0, -1]), np.arange(2)).save(tmp_path / "e.parquet")
    after = Embeddings.load(tmp_path / "e.parquet")
    assert (len(after.paths), len(after.splits), after.classes) == (0, 0, ())


def test_another_file_is_no_table_of_embeddings(tmp_path):
    (tmp_path / "text").write_text("no table")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    for name in ("text", "other.parquet", "nothing"):
        with pytest.raises(UserError, match=f"{name} is no table of embeddings"):
            Embeddings.load(tmp_path / name)


def test_selection_by_mask_and_by_number_agree():
    part, same = known().select(np.arange(6) % 2 == 1), known().select(np.array([1, 3, 5]))
    assert np.array_equal(part.paths, same.paths)
    assert np.array_equal(part.vectors, same.vectors)
    assert set(part.splits) == {"unseen"}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "vit_b_16"])
def test_blocks_are_pooled_one_by_one(name):
    backbone = vision(name=name, channels=1, size=64, mean=[0.5], std=[0.25]).eval()
    stages = blocks(backbone)
    embed = pooled_blocks(backbone, stages)
    with torch.no_grad():
        pooled = embed(torch.zeros(2, 1, 64, 64))
        assert sum(embed.sizes) == pooled.shape[1]
        assert len(embed.sizes) == len(stages) <= 8
        if name == "resnet18":  # whose last block, averaged, is the embedding
            torch.testing.assert_close(pooled[:, -embed.sizes[-1] :], backbone(torch.zeros(2, 1, 64, 64)))
    assert not any(module._forward_hooks for module in backbone.modules())
