import numpy as np
import pytest
import torch
from torch import nn

from fewlabels.batch import Batch
from fewlabels.embeddings import extract


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
