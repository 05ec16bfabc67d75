"""Random views and rotations: independent draws, determinism, ranges and frequencies."""

import math

import pytest
import torch

from fewlabels.core.augment_kernels import background
from fewlabels.core.errors import UserError
from fewlabels.methods.views import RandomViews, rotations

IDENTITY = {
    "scale": [1.0, 1.0], "ratio": [1.0, 1.0], "horizontal_flip": 0.0, "jitter": 0.0, "grey": 0.0, "blur": 0.0,
}  # fmt: skip
STRONG = {"degrees": 180.0, "vertical_flip": 0.5, "noise": 0.1}
SIZE = 32


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=8, channels=3, size=SIZE):
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=generator(7))


@pytest.mark.parametrize("options", [{}, STRONG], ids=["upright", "rotated"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_has_its_own_draw(options, channels):
    same = images(1, channels).expand(8, -1, -1, -1)
    views = RandomViews(**options)(same, generator()).flatten(1)
    distances = torch.cdist(views, views) + 1e9 * torch.eye(8)
    assert distances.min() > 0.1


@pytest.mark.parametrize("options", [{}, STRONG], ids=["upright", "rotated"])
@pytest.mark.parametrize("channels", [1, 3])
def test_views_are_images_and_depend_only_on_the_generator(options, channels):
    views, x = RandomViews(**options), images(channels=channels)
    torch.manual_seed(0)
    first = views(x, generator())
    torch.manual_seed(1)
    assert torch.equal(first, views(x, generator()))
    assert not torch.equal(first, views(x, generator(1)))
    assert first.shape == x.shape
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1


def test_successive_views_differ():
    source = generator()
    assert not torch.equal(RandomViews()(images(), source), RandomViews()(images(), source))


@pytest.mark.parametrize("options", [{}, STRONG], ids=["upright", "rotated"])
def test_uint8_and_float_agree_and_the_input_is_not_changed(options):
    x = images()
    scaled, before = x.float() / 255, x.clone()
    from_floats = RandomViews(**options)(scaled, generator())
    assert torch.equal(RandomViews(**options)(x, generator()), from_floats)
    assert torch.equal(x, before)
    assert torch.equal(scaled, before.float() / 255)


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_without_augmentation_a_view_is_the_image(size, channels):
    x = images(4, channels, size)
    assert torch.allclose(RandomViews(**IDENTITY)(x, generator()), x / 255, atol=1e-5)


def test_flips_have_the_given_probability():
    x = images(1, 1, 4).expand(4000, -1, -1, -1)
    views = RandomViews(**IDENTITY | {"horizontal_flip": 0.3, "vertical_flip": 0.6})(x, generator())
    equal = {
        axes: torch.isclose(views, (x / 255).flip(axes) if axes else x / 255, atol=1e-5).flatten(1).all(1)
        for axes in ((), (3,), (2,), (2, 3))
    }
    expected = {(): 0.7 * 0.4, (3,): 0.3 * 0.4, (2,): 0.7 * 0.6, (2, 3): 0.3 * 0.6}
    assert torch.stack(list(equal.values())).sum(0).eq(1).all()
    for axes, probability in expected.items():
        assert equal[axes].float().mean().item() == pytest.approx(probability, abs=0.04)  # 5 standard errors


def test_crops_cover_the_given_areas_and_aspect_ratios():
    source = generator()
    draws = iter(torch.rand(24, 2000, generator=source))
    (top, height), (left, width) = RandomViews(scale=[0.2, 0.8])._boxes(draws, 64)
    for start, length in ((top, height), (left, width)):
        assert torch.equal(start, start.round())
        assert start.min() == 0
        assert torch.all(start + length <= 64)
        assert (start + length).max() == 64
    area, ratio = height * width / 64**2, width / height
    assert area.min() == pytest.approx(0.2, abs=0.02)
    assert area.max() == pytest.approx(0.8, abs=0.02)
    assert area.mean() == pytest.approx(0.5, abs=0.02)
    assert ratio.min() > 3 / 4 - 0.03
    assert ratio.max() < 4 / 3 + 0.05
    assert ratio.log().mean().abs() < 0.02


@pytest.mark.parametrize("jitter", [0.0, 0.25, 1.0])
def test_colour_jitter_has_the_given_probability(jitter):
    x = images(1, 3, 4).expand(2000, -1, -1, -1)
    options = IDENTITY | {"jitter": jitter, "saturation": 0.0, "hue": 0.0, "contrast": 0.0}
    views = RandomViews(**options)(x, generator())
    changed = ~torch.isclose(views, x / 255, atol=1e-4).flatten(1).all(1)
    assert changed.float().mean().item() == pytest.approx(jitter, abs=0.05)


def test_grey_views_have_no_colour():
    views = RandomViews(grey=1.0)(images(), generator())
    assert (views.amax(1) - views.amin(1)).max() < 1e-5


def test_brightness_factors_cover_their_range():
    x = torch.full((2000, 1, 2, 2), 0.4)
    options = IDENTITY | {"jitter": 1.0, "brightness": 0.5, "contrast": 0.0}
    factor = RandomViews(**options)(x, generator())[:, 0, 0, 0] / 0.4
    assert factor.min() == pytest.approx(0.5, abs=0.01)
    assert factor.max() == pytest.approx(1.5, abs=0.01)
    assert factor.mean() == pytest.approx(1.0, abs=0.03)


def test_every_image_has_its_own_noise_level():
    views = RandomViews(**IDENTITY, noise=0.1)(torch.full((500, 1, SIZE, SIZE), 0.5), generator())
    level = (views - 0.5).flatten(1).std(1)
    assert level.max() == pytest.approx(0.1, abs=0.01)
    assert level.min() < 0.005
    assert level.mean() == pytest.approx(0.05, abs=0.006)


@pytest.mark.parametrize("level", [0.9, 0.1])
def test_rotation_fills_with_the_background(level):
    x = torch.full((64, 1, SIZE, SIZE), level)
    x[:, :, 12:20, 12:18] = 0.5
    views = RandomViews(**IDENTITY, degrees=180.0)(x, generator())
    corners = views[..., [0, 0, -1, -1], [0, -1, 0, -1]]
    assert torch.allclose(corners, torch.full_like(corners, level), atol=1e-5)
    assert views.min() > min(level, 0.5) - 1e-5  # a black or white fill would be outside this range
    assert views.max() < max(level, 0.5) + 1e-5
    assert not torch.isclose(views[:, 0, 13, 13], torch.tensor(0.5), atol=1e-3).all()


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"scale": [0.0, 1.0]}, "scale"),
        ({"scale": [0.5, 1.5]}, "scale"),
        ({"scale": [0.9, 0.5]}, "scale"),
        ({"ratio": [-1.0, 1.0]}, "ratio"),
        ({"sigma": [2.0, 1.0]}, "sigma"),
        ({"horizontal_flip": 1.5}, "horizontal_flip"),
        ({"vertical_flip": -0.1}, "vertical_flip"),
        ({"brightness": 2.0}, "brightness"),
        ({"contrast": -1.0}, "contrast"),
        ({"saturation": math.nan}, "saturation"),
        ({"hue": 0.6}, "hue"),
        ({"jitter": 80.0}, "jitter"),
        ({"grey": 2.0}, "grey"),
        ({"blur": -0.5}, "blur"),
        ({"noise": 1.1}, "noise"),
        ({"degrees": 360.0}, "degrees"),
    ],
)
def test_settings_out_of_range_are_refused(options, key):
    with pytest.raises(UserError, match=rf"views\.{key}"):
        RandomViews(**options)


@pytest.mark.parametrize(("count", "quarters"), [(4, (0, 1, 2, 3)), (2, (0, 2))])
def test_rotations_are_rot90_block_by_block(count, quarters):
    x = images(3)
    blocks = rotations(x, count).chunk(count)
    assert len(blocks) == len(quarters)
    for block, steps in zip(blocks, quarters, strict=True):
        assert torch.equal(block, torch.stack([image.rot90(steps, (1, 2)) for image in x]))


def make_blobs(count=3):
    """Bright blobs within the inscribed circle on a dark background."""
    side = torch.linspace(-1, 1, 48)
    at = torch.tensor([[0.4, 0.1], [-0.3, 0.2], [0.0, -0.45]])[:count]
    squares = (side[None, :, None] - at[:, 0, None, None]) ** 2 + (side[None, None] - at[:, 1, None, None]) ** 2
    return (0.8 * torch.exp(-squares / 0.08))[:, None]


def test_three_rotations_are_120_degrees_apart():
    x = make_blobs()
    blocks = rotations(x, 3).chunk(3)
    assert torch.allclose(blocks[0], x, atol=0.05)
    assert torch.allclose(rotations(blocks[1], 3).chunk(3)[1], blocks[2], atol=0.05)
    assert torch.allclose(rotations(blocks[2], 3).chunk(3)[1], blocks[0], atol=0.05)
    assert (blocks[1] - blocks[0]).abs().max() > 0.5


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_corners_of_three_rotations_do_not_reveal_the_angle(dtype):
    x = images(4) if dtype == torch.uint8 else images(4).float() / 255
    rotated = rotations(x, 3)
    scaled = images(4).float() / 255
    side = torch.linspace(-1, 1, SIZE)
    outside = side.square() + side.square()[:, None] > 1
    expected = background(scaled).flatten(1)[..., None].expand(-1, -1, int(outside.sum())).repeat(3, 1, 1)
    assert rotated.shape == (12, 3, SIZE, SIZE)
    assert torch.allclose(rotated[..., outside], expected, atol=1e-6)
    other = scaled.clone()  # with other corners, whose content must not matter
    border = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    border[0], border[-1], border[:, 0], border[:, -1] = True, True, True, True
    other[..., outside & ~border] = 0.123
    assert torch.allclose(rotations(other, 3), rotated, atol=1e-6)


def test_three_rotations_are_equally_sharp():
    x = torch.randint(0, 256, (64, 1, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    sharpness = []
    for rotated in rotations(x, 3).chunk(3):
        c = rotated[..., 16:48, 16:48]
        edges = 4 * c[..., 1:-1, 1:-1] - c[..., :-2, 1:-1] - c[..., 2:, 1:-1] - c[..., 1:-1, :-2] - c[..., 1:-1, 2:]
        sharpness.append(float(edges.var()))
    assert max(sharpness) / min(sharpness) < 1.02


def test_colours_of_other_channels_cannot_change():
    with pytest.raises(UserError, match=r"5 channels have no colours to change: give data\.views\.saturation=0"):
        RandomViews()(images(channels=5), generator())
    views = RandomViews(saturation=0, hue=0, grey=0, degrees=30)(images(channels=5), generator())
    assert views.shape == (8, 5, SIZE, SIZE)
