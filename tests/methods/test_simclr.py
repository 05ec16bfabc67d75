import math

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fewlabels.backbones import Backbone
from fewlabels.batch import Batch
from fewlabels.distributed import rank, world_size
from fewlabels.errors import UserError
from fewlabels.losses import nt_xent
from fewlabels.methods.simclr import SimCLR, frozen_statistics
from fewlabels.optim import Recipe
from fewlabels.views import RandomViews
from gloo import run_on_ranks

SIZE, COUNT = 8, 10


class Double(nn.Module):
    def forward(self, x):
        return x.double()


class Mirrors(nn.Module):
    """Views without chance: now the image itself, now its mirror image."""

    def __init__(self):
        super().__init__()
        self.turn = 0

    def forward(self, x, generator):
        self.turn += 1
        return x.float() / 255 if self.turn % 2 else x.flip(3).float() / 255


def simclr(*, norm=False, head=None, views=None, **options):
    """SimCLR on a small convolutional network in float64."""
    torch.manual_seed(0)
    body = [Double(), nn.Conv2d(3, 6, 3, bias=not norm), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    if norm:
        body.insert(2, nn.BatchNorm2d(6))
    backbone = Backbone(nn.Sequential(*body).double(), channels=3, size=SIZE, mean=[0.5] * 3, std=[0.25] * 3)
    head = {"layers": 2, "hidden": 7, "outputs": 5, "batch_norm": norm} | (head or {})
    shared = {"backbone": backbone, "optimizer": Recipe(name="sgd", lr=0.1), "seed": 0, "temperature": 0.3}
    return SimCLR(views=views or Mirrors(), head=head, **(shared | options)).double()


def batch(count=COUNT):
    x = torch.randint(0, 256, (count, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return Batch(x, torch.zeros(count, dtype=torch.int64), torch.arange(count))


def step(method, samples=None, seed=0):
    return method.step(samples or batch(), torch.Generator().manual_seed(seed))


def gradients(method):
    return {name: p.grad.clone() for name, p in method.named_parameters()}


def test_loss_is_nt_xent_of_the_projections():
    method, x = simclr(), batch().x
    z1, z2 = (method.head(method.backbone((view.float() / 255 - 0.5) / 0.25)) for view in (x, x.flip(3)))
    metrics = step(method)
    assert metrics["loss"].item() == pytest.approx(nt_xent(z1, z2, 0.3).item(), abs=1e-6)  # normalised in float32
    assert metrics["loss_chance"].item() == pytest.approx(math.log(2 * COUNT - 1))
    similar = torch.nn.functional.cosine_similarity(torch.cat([z1, z2])[:, None], torch.cat([z1, z2])[None], dim=2)
    similar.fill_diagonal_(-2)
    for k in (1, 5):
        found = [(i + COUNT) % (2 * COUNT) in row.topk(k).indices.tolist() for i, row in enumerate(similar)]
        assert metrics[f"contrastive_top{k}"].item() == pytest.approx(sum(found) / len(found))


def test_views_are_two_different_draws_that_the_generator_decides():
    method = simclr(views=RandomViews())
    shown = []
    method.backbone.register_forward_pre_hook(lambda module, x: shown.append(x[0]))
    losses = [step(method, seed=seed)["loss"].item() for seed in (0, 0, 1)]
    first, second = shown[0].chunk(2)
    assert not torch.allclose(first, second, atol=0.01)
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


@pytest.mark.parametrize("chunk_size", [2, 3, 4, 10, 99])
def test_chunks_change_neither_loss_nor_gradient(chunk_size):
    whole, chunked = simclr(), simclr(chunk_size=chunk_size)
    losses = [step(method)["loss"] for method in (whole, chunked)]
    for loss in losses:
        loss.backward()
    assert losses[1].item() == pytest.approx(losses[0].item(), abs=1e-12)
    expected = gradients(whole)
    for name, gradient in gradients(chunked).items():
        assert torch.allclose(gradient, expected[name], rtol=1e-9, atol=1e-12), name
        assert gradient.abs().max() > 0, name


def test_no_more_than_a_chunk_goes_through_the_network_at_a_time():
    method, sizes = simclr(chunk_size=4), []
    method.backbone.register_forward_pre_hook(lambda module, x: sizes.append(len(x[0])))
    step(method)["loss"].backward()
    assert sorted(sizes) == [4, 4, 8, 8, 8, 8]  # every chunk twice: forward, and again for its gradient


def statistics(method):
    return {name: value.clone() for name, value in method.named_buffers()}


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_batch_norm_counts_every_forward_pass_once(chunk_size):
    method = simclr(norm=True, chunk_size=chunk_size)
    loss = step(method)["loss"]
    forward = statistics(method)
    loss.backward()
    after = statistics(method)
    assert all(torch.equal(forward[name], after[name]) for name in forward)
    counts = {value.item() for name, value in after.items() if name.endswith("num_batches_tracked")}
    assert counts == {1 if chunk_size is None else 3}
    assert all(norm.momentum == 0.1 for norm in method.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm))


def test_with_batch_norm_a_chunk_that_is_the_batch_is_the_batch():
    whole, chunked = simclr(norm=True), simclr(norm=True, chunk_size=COUNT)
    for method in (whole, chunked):
        step(method)["loss"].backward()
    expected = gradients(whole)
    assert all(torch.allclose(g, expected[name], rtol=1e-9, atol=1e-12) for name, g in gradients(chunked).items())
    expected = statistics(whole)
    assert all(torch.equal(value, expected[name]) for name, value in statistics(chunked).items())


def test_statistics_thaw_after_an_error():
    norm = nn.BatchNorm1d(2)
    with pytest.raises(KeyError), frozen_statistics(norm):
        raise KeyError(norm(torch.rand(3, 2)))
    assert norm.momentum == 0.1
    assert norm.num_batches_tracked == 0
    assert torch.equal(norm.running_mean, torch.zeros(2))
    norm(torch.rand(3, 2))
    assert norm.num_batches_tracked == 1


def test_held_out_batches_are_contrasted_alone_without_chunks():
    method = simclr(chunk_size=2).eval()
    with torch.no_grad():
        held_out = step(method)
    assert held_out["loss"].item() == pytest.approx(step(simclr())["loss"].item())


class Step(nn.Module):
    """What DDP wraps: one training step."""

    def __init__(self, method):
        super().__init__()
        self.method = method

    def forward(self, samples):
        metrics = step(self.method, samples)
        return metrics["loss"], metrics["loss_chance"].item()


def share_of_a_step(options):
    """This rank's loss on its share, and every gradient as DDP leaves it."""
    results = []
    for chosen in options:
        method = simclr(**chosen)
        wrapped = DistributedDataParallel(Step(method))
        share = COUNT // world_size()
        mine = Batch(*(column[rank() * share : (rank() + 1) * share] for column in batch()))
        loss, chance = wrapped(mine)
        loss.backward()
        results.append((loss.item(), chance, gradients(method)))
    return results


def test_two_processes_have_loss_and_gradients_of_one_that_holds_the_batch():
    options = [{}, {"chunk_size": 3}, {"chunk_size": 2}]
    whole = simclr()
    loss = step(whole)["loss"]
    loss.backward()
    expected = gradients(whole)
    for first, second in zip(*run_on_ranks(share_of_a_step, 2, options), strict=True):
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
    options = {"backbone": backbone, "optimizer": Recipe(name="sgd", lr=0.1), "seed": 0}
    method = SimCLR(views=Identity(), temperature=0.05, head={"layers": 1, "hidden": 1, "outputs": 64}, **options)
    metrics = step(method)
    assert metrics["contrastive_top1"] == 1
    assert metrics["contrastive_top5"] == 1
    assert metrics["loss"] < 0.01


def test_an_embedding_that_knows_nothing_has_the_loss_of_chance():
    method = simclr()
    nn.init.zeros_(method.head[-1].weight)
    metrics = step(method)
    assert metrics["loss"].item() == pytest.approx(metrics["loss_chance"].item())


def test_show_gives_the_original_and_two_views():
    shown = simclr(views=RandomViews()).show(batch().x, torch.Generator().manual_seed(0))
    assert list(shown) == ["original", "view 1", "view 2"]
    assert not torch.equal(shown["view 1"], shown["view 2"])
    assert torch.equal(shown["original"], batch().x / 255)


@pytest.mark.parametrize("temperature", [0, -0.1, math.inf, math.nan])
def test_temperatures_that_nothing_can_be_divided_by_are_refused(temperature):
    with pytest.raises(UserError, match=r"method\.temperature"):
        simclr(temperature=temperature)


@pytest.mark.parametrize("chunk_size", [1, 0, -4])
def test_chunks_of_less_than_two_images_are_refused(chunk_size):
    with pytest.raises(UserError, match=rf"method\.chunk_size={chunk_size}"):
        simclr(chunk_size=chunk_size)
