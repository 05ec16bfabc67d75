"""Orientations of an image, and embeddings averaged over them."""

import itertools

import pytest
import torch
from torch import nn

from fewlabels.probing.orientations import mean_embedding, oriented


def images():
    return torch.rand(3, 2, 5, 5, generator=torch.Generator().manual_seed(0))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(50, 4), nn.Tanh()).eval()


def test_eight_orientations_are_the_symmetries_of_the_square():
    """Pixel (i, j) goes to (i, j) or (j, i), each with either axis reversed: 8 images, all different."""
    x = images()
    expected = set()
    for swap, rows, columns in itertools.product((False, True), repeat=3):
        image = x.transpose(2, 3) if swap else x
        image = image.flip(2) if rows else image
        expected.add((image.flip(3) if columns else image).numpy().tobytes())
    found = {image.contiguous().numpy().tobytes() for image in oriented(x, 8)}
    assert found == expected
    assert len(found) == 8


def test_fewer_orientations_are_mirror_images_or_turns():
    x = images()
    assert [torch.equal(*pair) for pair in zip(oriented(x, 2), (x, x.flip(3)), strict=True)] == [True, True]
    turns = [x, x.transpose(2, 3).flip(2), x.flip(2, 3), x.transpose(2, 3).flip(3)]
    assert [torch.equal(*pair) for pair in zip(oriented(x, 4), turns, strict=True)] == [True] * 4
    assert len(oriented(x, 1)) == 1
    assert oriented(x, 1)[0] is x


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_mean_embedding_is_the_mean(count):
    x, net = images(), network()
    expected = torch.stack([net(image) for image in oriented(x, count)]).mean(0)
    assert torch.allclose(mean_embedding(net, x, count), expected, atol=1e-7)


@pytest.mark.parametrize(("count", "turn"), [(2, lambda x: x.flip(3)), (4, lambda x: x.rot90(1, (2, 3))),
                                             (8, lambda x: x.rot90(3, (2, 3)).flip(2))])  # fmt: skip
def test_an_image_turned_so_has_the_same_mean_embedding(count, turn):
    x, net = images(), network()
    assert torch.allclose(mean_embedding(net, x, count), mean_embedding(net, turn(x), count), atol=1e-6)
    assert not torch.allclose(net(x), net(turn(x)), atol=1e-2)


def test_points_have_one_orientation():
    assert torch.equal(mean_embedding(lambda x: 2 * x, torch.ones(4, 2), 1), torch.full((4, 2), 2.0))


def test_other_counts_are_refused():
    with pytest.raises(ValueError, match=r"one of \(1, 2, 4, 8\), not 3"):
        oriented(images(), 3)
