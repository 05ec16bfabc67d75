"""Batched augmentations, compared with torchvision and with closed forms."""

import math

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from fewlabels.core.augment_kernels import background, blur_matrix, crop_matrix, recolour, rotated_crop, separable

SIZE = 20
BOXES = [(0, 0, SIZE, SIZE), (3, 5, 9, 12), (0, 7, 1, 13), (11, 0, 9, 2), (19, 19, 1, 1)]  # top, left, height, width


def images(count=4, channels=3, size=SIZE, seed=0):
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def per_sample(*values):
    return torch.tensor(values, dtype=torch.float32)


@pytest.mark.parametrize("mirrored", [False, True])
def test_crops_equal_torchvisions_resized_crop(mirrored):
    x = images(len(BOXES))
    top, left, height, width = torch.tensor(BOXES, dtype=torch.float32).T
    flip = torch.full((len(BOXES),), -1.0 if mirrored else 1.0)
    rows, columns = crop_matrix(top, height, torch.ones_like(flip), SIZE), crop_matrix(left, width, flip, SIZE)
    ours = separable(x, rows, columns)
    theirs = torch.cat(
        [tv.resized_crop(x[i : i + 1], *box, [SIZE, SIZE], antialias=True) for i, box in enumerate(BOXES)]
    )
    theirs = tv.horizontal_flip(theirs) if mirrored else theirs
    assert (ours - theirs).abs().max() < 1e-5


def test_flips_of_rows_and_columns_act_on_their_own_axis():
    x = images(1, 1)
    flipped = crop_matrix(per_sample(0), per_sample(SIZE), per_sample(-1), SIZE)
    unchanged = crop_matrix(per_sample(0), per_sample(SIZE), per_sample(1), SIZE)
    assert torch.allclose(separable(x, flipped, unchanged), x.flip(2), atol=1e-5)
    assert torch.allclose(separable(x, unchanged, flipped), x.flip(3), atol=1e-5)


def test_separable_resizes_rectangles():
    x = torch.rand(2, 3, 5, 7)
    rows, columns = torch.rand(2, 4, 5), torch.rand(2, 4, 7)
    expected = torch.einsum("bsh,bchw,btw->bcst", rows, x, columns)
    assert torch.allclose(separable(x, rows, columns), expected, atol=1e-5)


def test_blur_rows_sum_to_one_and_unblurred_samples_get_the_identity():
    sigma, blurred = per_sample(0.1, 0.7, 5.0, 2.0), torch.tensor([True, True, True, False])
    kernel = blur_matrix(sigma, blurred, SIZE)
    assert torch.allclose(kernel.sum(2), torch.ones(4, SIZE), atol=1e-6)
    assert torch.equal(kernel[3], torch.eye(SIZE))
    assert kernel.min() >= 0


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.5])
def test_blur_equals_torchvisions_in_the_interior(sigma):
    reach = math.ceil(6 * sigma)
    x = images(2, size=4 * reach)
    kernel = blur_matrix(per_sample(sigma, sigma), torch.tensor([True, True]), 4 * reach)
    theirs = tv.gaussian_blur(x, [2 * reach + 1] * 2, [sigma] * 2)
    inside = (..., slice(reach, -reach), slice(reach, -reach))
    assert torch.allclose(separable(x, kernel, kernel)[inside], theirs[inside], atol=1e-5)


def no_change(count):
    return dict.fromkeys(("brightness", "contrast", "saturation"), torch.ones(count)) | {"hue": torch.zeros(count)}


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_colour_change_equals_torchvisions(name, channels):
    x = 0.4 + 0.2 * images(3, channels)  # results stay in [0, 1], where torchvision does not clamp
    factors = per_sample(0.5, 1.0, 1.4)
    if name == "saturation" and channels == 1:
        expected = x
    else:
        change = getattr(tv, f"adjust_{name}")
        expected = torch.cat([change(x[i : i + 1], factor) for i, factor in enumerate(factors.tolist())])
    ours = recolour(x, **(no_change(3) | {name: factors}))
    assert torch.allclose(ours, expected, atol=1e-4)  # torchvision's luma weights sum to 0.9999


def test_combined_colour_changes_equal_torchvisions_in_sequence():
    x = 0.4 + 0.2 * images(1)
    expected = tv.adjust_saturation(tv.adjust_contrast(tv.adjust_brightness(x, 0.8), 1.3), 0.6)
    ours = recolour(x, per_sample(0.8), per_sample(1.3), per_sample(0.6), per_sample(0))
    assert torch.allclose(ours, expected, atol=2e-4)


def test_zero_saturation_gives_grey():
    grey = recolour(images(), **(no_change(4) | {"saturation": torch.zeros(4)}))
    assert torch.allclose(grey, tv.rgb_to_grayscale(images(), 3), atol=2e-4)


@pytest.mark.parametrize("turn", [0.0, 1.0, -1.0])
def test_hue_rotation_by_zero_or_a_full_turn_changes_nothing(turn):
    assert torch.allclose(recolour(images(), **(no_change(4) | {"hue": torch.full((4,), turn)})), images(), atol=1e-5)


def test_hue_preserves_greys_and_luma_and_rotations_add_up():
    grey = images(4, 1).expand(-1, 3, -1, -1).contiguous()
    turns = per_sample(0.1, -0.2, 0.5, 0.33)
    assert torch.allclose(recolour(grey, **(no_change(4) | {"hue": turns})), grey, atol=1e-5)
    once = recolour(images(), **(no_change(4) | {"hue": turns}))
    luma = torch.tensor([0.299, 0.587, 0.114])
    assert torch.allclose(torch.einsum("bchw,c->bhw", once - images(), luma), torch.zeros(()), atol=1e-5)
    twice = recolour(once, **(no_change(4) | {"hue": turns}))
    assert torch.allclose(twice, recolour(images(), **(no_change(4) | {"hue": 2 * turns})), atol=1e-5)
    assert (once - images()).abs().max() > 0.1


def rotated(x, angle, flips=(1.0, 1.0)):
    count, size = len(x), float(x.shape[-1])
    box = (torch.zeros(count), torch.full((count,), size))
    return rotated_crop(x, [box, box], [torch.full((count,), f) for f in flips], torch.full((count,), angle))


def test_rotated_crop_of_the_full_image_without_rotation_is_the_image():
    assert torch.allclose(rotated(images(), 0.0), images(), atol=1e-5)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_right_angles_equal_rot90(quarters):
    assert torch.allclose(rotated(images(), quarters * math.pi / 2), images().rot90(quarters, (2, 3)), atol=1e-4)


def test_rotated_crop_flips_left_right_then_up_down():
    assert torch.allclose(rotated(images(), 0.0, (-1.0, 1.0)), images().flip(3), atol=1e-5)
    assert torch.allclose(rotated(images(), 0.0, (1.0, -1.0)), images().flip(2), atol=1e-5)


def test_rotated_crop_without_rotation_equals_the_separable_crop_in_the_interior():
    x, ones = images(1), torch.ones(1)
    rows, columns = (per_sample(4), per_sample(11)), (per_sample(6), per_sample(9))
    ours = rotated_crop(x, [rows, columns], [ones, ones], torch.zeros(1))
    plain = separable(x, crop_matrix(*rows, ones, SIZE), crop_matrix(*columns, ones, SIZE))
    inside = (..., slice(2, -2), slice(2, -2))  # at the edge only the rotated crop interpolates with pixels outside
    assert torch.allclose(ours[inside], plain[inside], atol=1e-5)


def test_pixels_outside_a_rotated_image_get_its_background():
    x = torch.full((2, 1, SIZE, SIZE), 0.9)
    x[1] = 0.1
    x[:, :, 8:12, 8:12] = 0.5
    result = rotated(x, math.pi / 4)
    assert torch.allclose(result[:, 0, 0, 0], torch.tensor([0.9, 0.1]))
    assert result[0].min() > 0.49
    assert result[1].max() < 0.51


@pytest.mark.parametrize("level", [0.95, 0.05])
def test_background_is_the_median_of_the_border(level):
    x = torch.full((2, 3, SIZE, SIZE), level)
    x[:, :, 2:-2, 2:-2] = 1 - level  # the subject is not part of the border
    x[:, :, 0, :7] = 0.5  # an object that touches the border
    assert torch.equal(background(x), torch.full((2, 3, 1, 1), level))
    border = images()[1, 2]
    expected = torch.cat([border[0], border[-1], border[:, 0], border[:, -1]]).median()
    assert background(images())[1, 2, 0, 0] == expected


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_channels_that_are_no_colours_get_brightness_and_contrast_about_their_mean(channels):
    x, brightness, contrast = images(3, channels), per_sample(0.8, 1.1, 1.0), per_sample(1.3, 0.5, 1.0)
    b, c = brightness.view(3, 1, 1, 1), contrast.view(3, 1, 1, 1)
    mean = x.mean((1, 2, 3), keepdim=True)
    expected = b * (mean + c * (x - mean))
    assert torch.allclose(
        recolour(x, brightness, contrast, torch.zeros(3), per_sample(0.1, 0.2, 0.3)), expected, atol=1e-6
    )
