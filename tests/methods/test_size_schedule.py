"""Progressive resizing: the sizes of training images, and batch norms at the end."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fewlabels.core.augment_kernels import shrink
from fewlabels.core.errors import UserError
from fewlabels.methods.size_schedule import SizeSchedule
from tiny_network import tiny_network

SIZE = 32


def make_network():
    torch.manual_seed(0)
    return tiny_network(channels=1, size=SIZE, mean=[0.5], std=[0.25], widths=(4, 8))


def test_each_size_lasts_for_an_equal_part_of_the_steps():
    schedule = SizeSchedule([8, 16, 32], make_network())
    assert [schedule.size(step, 9) for step in range(11)] == [8, 8, 8, 16, 16, 16, 32, 32, 32, 32, 32]
    assert [schedule.size(step, 2) for step in range(2)] == [8, 16]
    assert SizeSchedule([16], make_network()).size(5, 9) == 16


def test_images_are_shrunk_as_pillow_does():
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), np.uint8)
    x = torch.from_numpy(pixels)[None, None]
    small = SizeSchedule([12], make_network()).shrink(x, 0, 1)
    expected = np.asarray(Image.fromarray(pixels).resize((12, 12), Image.Resampling.BILINEAR))
    assert (255 * small[0, 0] - torch.tensor(expected)).abs().max() < 1
    assert torch.equal(shrink(x, SIZE), x / 255)


@pytest.mark.parametrize("sizes", [[], [64], [16.5], [0, 32], "32", 32])
def test_sizes_that_cannot_be_trained_on_are_refused(sizes):
    with pytest.raises(UserError, match=r"data\.size_schedule=.*none above data\.size=32, such as \[16,32\]"):
        SizeSchedule(sizes, make_network())


def test_a_size_that_the_backbone_does_not_accept_is_refused():
    network = make_network()
    network.body = nn.Sequential(network.body, nn.Flatten(), nn.Identity())
    network.body[0][-1] = nn.Flatten()  # instead of the average over all positions
    network.body[2] = nn.Linear(8 * 8 * 8, 4)
    with pytest.raises(UserError, match=r"data\.size_schedule=\[16, 32\]: the backbone does not accept .* 16 pixels"):
        SizeSchedule([16, 32], network)


class Rows:
    """A data module with 40 images."""

    batch_size = 10

    def __init__(self):
        self.x = torch.randint(
            0, 256, (40, 1, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
        )

    def indices(self, split):
        assert split == "train"
        return np.arange(40)

    def loader(self, rows):
        return [type("Batch", (), {"x": self.x[part]}) for part in np.split(rows, 4)]


def test_batch_norms_are_fitted_to_full_size_images_at_the_end():
    network, data = make_network(), Rows()
    SizeSchedule([8, 16], network).finish(data, torch.device("cpu"))
    convolved = network.body[0](network.normalise(data.x))
    assert torch.allclose(network.body[1].running_mean, convolved.mean((0, 2, 3)), atol=1e-5)


@pytest.mark.parametrize(("frozen", "sizes"), [(True, [8, 16]), (False, [16, SIZE])])
def test_frozen_norms_and_those_of_full_size_images_stay(frozen, sizes):
    network = make_network()
    network.frozen_norms = frozen
    before = {name: value.clone() for name, value in network.named_buffers()}
    SizeSchedule(sizes, network).finish(Rows(), torch.device("cpu"))
    assert all(torch.equal(before[name], value) for name, value in network.named_buffers())
