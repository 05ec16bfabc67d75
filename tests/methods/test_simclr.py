"""SimCLR: the loss, chunks with gradient caching, batch norm statistics, and two ranks against one."""

import math

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fewlabels.core.backbones import Backbone
from fewlabels.core.batch import Batch
from fewlabels.core.distributed import rank, world_size
from fewlabels.core.errors import UserError
from fewlabels.core.losses import nt_xent
from fewlabels.core.optim import OptimizerConfig
from fewlabels.methods.simclr import SimCLR, frozen_statistics
from fewlabels.methods.views import RandomViews
from gloo import run_on_ranks

SIZE, COUNT = 8, 10


class Double(nn.Module):
    def forward(self, x):
        return x.double()


class Mirrors(nn.Module):
    """Deterministic views: alternately the image and its mirror image."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x, generator):
        self.calls += 1
        return x.float() / 255 if self.calls % 2 else x.flip(3).float() / 255


def make_method(*, norm=False, head=None, views=None, **options):
    """SimCLR on a small convolutional network in float64."""
    torch.manual_seed(0)
    body = [Double(), nn.Conv2d(3, 6, 3, bias=not norm), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    if norm:
        body.insert(2, nn.BatchNorm2d(6))
    backbone = Backbone(nn.Sequential(*body).double(), channels=3, size=SIZE, mean=[0.5] * 3, std=[0.25] * 3)
    head = {"layers": 2, "hidden": 7, "outputs": 5, "batch_norm": norm} | (head or {})
    shared = {"backbone": backbone, "optimizer": OptimizerConfig(name="sgd", lr=0.1), "seed": 0, "temperature": 0.3}
    return SimCLR(views=views or Mirrors(), head=head, **(shared | options)).double()


def make_batch(count=COUNT):
    x = torch.randint(0, 256, (count, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return Batch(x, torch.zeros(count, dtype=torch.int64), torch.arange(count))


def step(method, samples=None, seed=0):
    return method.step(samples or make_batch(), torch.Generator().manual_seed(seed))


def gradients(method):
    return {name: p.grad.clone() for name, p in method.named_parameters()}


def test_loss_is_nt_xent_of_the_projections():
    method, x = make_method(), make_batch().x
    z1, z2 = (method.head(method.backbone((view.float() / 255 - 0.5) / 0.25)) for view in (x, x.flip(3)))
    metrics = step(method)
    assert metrics["loss"].item() == pytest.approx(nt_xent(z1, z2, 0.3).item(), abs=1e-6)  # normalisation is in float32
    assert metrics["loss_chance"].item() == pytest.approx(math.log(2 * COUNT - 1))
    similar = torch.nn.functional.cosine_similarity(torch.cat([z1, z2])[:, None], torch.cat([z1, z2])[None], dim=2)
    similar.fill_diagonal_(-2)
    for k in (1, 5):
        found = [(i + COUNT) % (2 * COUNT) in row.topk(k).indices.tolist() for i, row in enumerate(similar)]
        assert metrics[f"contrastive_top{k}"].item() == pytest.approx(sum(found) / len(found))


def test_the_two_views_differ_and_depend_on_the_generator():
    method = make_method(views=RandomViews())
    inputs = []
    method.backbone.register_forward_pre_hook(lambda module, x: inputs.append(x[0]))
    losses = [step(method, seed=seed)["loss"].item() for seed in (0, 0, 1)]
    first, second = inputs[0].chunk(2)
    assert not torch.allclose(first, second, atol=0.01)
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


@pytest.mark.parametrize("chunk_size", [2, 3, 4, 10, 99])
def test_chunks_change_neither_loss_nor_gradients(chunk_size):
    full, chunked = make_method(), make_method(chunk_size=chunk_size)
    losses = [step(method)["loss"] for method in (full, chunked)]
    for loss in losses:
        loss.backward()
    assert losses[1].item() == pytest.approx(losses[0].item(), abs=1e-12)
    expected = gradients(full)
    for name, gradient in gradients(chunked).items():
        assert torch.allclose(gradient, expected[name], rtol=1e-9, atol=1e-12), name
        assert gradient.abs().max() > 0, name


def test_the_network_processes_one_chunk_at_a_time():
    method, sizes = make_method(chunk_size=4), []
    method.backbone.register_forward_pre_hook(lambda module, x: sizes.append(len(x[0])))
    step(method)["loss"].backward()
    assert sorted(sizes) == [4, 4, 8, 8, 8, 8]  # every chunk twice: forward, and again for its gradient


def statistics(method):
    return {name: value.clone() for name, value in method.named_buffers()}


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_recomputation_does_not_update_batch_norm_statistics(chunk_size):
    method = make_method(norm=True, chunk_size=chunk_size)
    loss = step(method)["loss"]
    forward = statistics(method)
    loss.backward()
    after = statistics(method)
    assert all(torch.equal(forward[name], after[name]) for name in forward)
    counts = {value.item() for name, value in after.items() if name.endswith("num_batches_tracked")}
    assert counts == {1 if chunk_size is None else 3}
    assert all(norm.momentum == 0.1 for norm in method.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm))


def test_one_chunk_with_batch_norm_equals_the_full_batch():
    full, chunked = make_method(norm=True), make_method(norm=True, chunk_size=COUNT)
    for method in (full, chunked):
        step(method)["loss"].backward()
    expected = gradients(full)
    assert all(torch.allclose(g, expected[name], rtol=1e-9, atol=1e-12) for name, g in gradients(chunked).items())
    expected = statistics(full)
    assert all(torch.equal(value, expected[name]) for name, value in statistics(chunked).items())


def test_statistics_are_updated_again_after_an_error():
    norm = nn.BatchNorm1d(2)
    with pytest.raises(KeyError), frozen_statistics(norm):
        raise KeyError(norm(torch.rand(3, 2)))
    assert norm.momentum == 0.1
    assert norm.num_batches_tracked == 0
    assert torch.equal(norm.running_mean, torch.zeros(2))
    norm(torch.rand(3, 2))
    assert norm.num_batches_tracked == 1


def test_validation_does_not_use_chunks():
    method = make_method(chunk_size=2).eval()
    with torch.no_grad():
        validation = step(method)
    assert validation["loss"].item() == pytest.approx(step(make_method())["loss"].item())


class Step(nn.Module):
    """One training step, as a module that DDP can wrap."""

    def __init__(self, method):
        super().__init__()
        self.method = method

    def forward(self, samples):
        metrics = step(self.method, samples)
        return metrics["loss"], metrics["loss_chance"].item()


def step_on_part(options):
    """This rank's loss on its part of the batch, and the gradients after DDP's averaging."""
    results = []
    for chosen in options:
        method = make_method(**chosen)
        wrapped = DistributedDataParallel(Step(method))
        size = COUNT // world_size()
        part = Batch(*(column[rank() * size : (rank() + 1) * size] for column in make_batch()))
        loss, chance = wrapped(part)
        loss.backward()
        results.append((loss.item(), chance, gradients(method)))
    return results


@pytest.mark.subprocess
def test_two_ranks_have_the_loss_and_gradients_of_one_with_the_full_batch():
    options = [{}, {"chunk_size": 3}, {"chunk_size": 2}]
    full = make_method()
    loss = step(full)["loss"]
    loss.backward()
    expected = gradients(full)
    for first, second in zip(*run_on_ranks(step_on_part, 2, options), strict=True):
        assert (first[0] + second[0]) / 2 == pytest.approx(loss.item(), abs=1e-9)
        assert first[0] != second[0]
        for _, chance, found in (first, second):
            assert chance == pytest.approx(math.log(2 * COUNT - 1))
            for name, gradient in found.items():
                assert torch.allclose(gradient, expected[name], rtol=1e-6, atol=1e-9), name


class Identity(nn.Module):
    def forward(self, x, generator):
        return x.float() / 255


def test_a_perfect_embedding_finds_every_positive():
    backbone = Backbone(nn.Flatten(), channels=3, size=SIZE, mean=[0.5] * 3, std=[0.25] * 3)
    options = {"backbone": backbone, "optimizer": OptimizerConfig(name="sgd", lr=0.1), "seed": 0}
    method = SimCLR(views=Identity(), temperature=0.05, head={"layers": 1, "hidden": 1, "outputs": 64}, **options)
    metrics = step(method)
    assert metrics["contrastive_top1"] == 1
    assert metrics["contrastive_top5"] == 1
    assert metrics["loss"] < 0.01


def test_a_constant_projection_has_the_loss_at_chance_level():
    method = make_method()
    nn.init.zeros_(method.head[-1].weight)
    metrics = step(method)
    assert metrics["loss"].item() == pytest.approx(metrics["loss_chance"].item())


def test_the_preview_has_the_original_and_two_views():
    preview = make_method(views=RandomViews()).preview_views(make_batch().x, torch.Generator().manual_seed(0))
    assert list(preview) == ["original", "view 1", "view 2"]
    assert not torch.equal(preview["view 1"], preview["view 2"])
    assert torch.equal(preview["original"], make_batch().x / 255)


@pytest.mark.parametrize("temperature", [0, -0.1, math.inf, math.nan])
def test_temperatures_out_of_range_are_refused(temperature):
    with pytest.raises(UserError, match=r"method\.temperature"):
        make_method(temperature=temperature)


@pytest.mark.parametrize("chunk_size", [1, 0, -4])
def test_chunks_of_less_than_two_images_are_refused(chunk_size):
    with pytest.raises(UserError, match=rf"method\.chunk_size={chunk_size}"):
        make_method(chunk_size=chunk_size)
