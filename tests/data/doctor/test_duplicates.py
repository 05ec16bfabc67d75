"""Nearly the same images: found by hashes and confirmed by pixels, without comparing all pairs."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from fewlabels.data.doctor.duplicates import near_duplicates, perceptual_hashes


def scene(count, side=64, seed=0):
    """Smooth random images, uint8 [count, 1, side, side]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in coarse])[
        :, None
    ]


def changed(image, how):
    pillow = Image.fromarray(image[0])
    if how == "brighter":
        return (image.astype(int) * 0.9 + 10).astype(np.uint8)
    if how == "resized":
        return np.asarray(pillow.resize((40, 40)).resize(pillow.size))[None]
    if how == "blurred":
        return np.asarray(pillow.filter(ImageFilter.GaussianBlur(1)))[None]
    noise = np.random.default_rng(1).normal(0, 3, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("how", ["brighter", "resized", "blurred", "noisy"])
def test_changed_copies_are_found_and_nothing_else(how):
    images = scene(200)
    images = np.concatenate([images, changed(images[17], how)[None], changed(images[150], how)[None]])
    assert near_duplicates(images, np.arange(202)).tolist() == [[17, 200], [150, 201]]


def test_exact_copies_are_left_to_their_digests():
    images = scene(20)
    images[5] = images[3]
    digests = np.arange(20)
    assert near_duplicates(images, digests).tolist() == [[3, 5]]
    digests[5] = 3
    assert near_duplicates(images, digests).shape == (0, 2)


def test_a_turned_or_another_image_of_the_same_kind_is_none():
    images = scene(50)
    images = np.concatenate([images, images[:10, :, ::-1], np.rot90(images[:10], axes=(2, 3))])
    assert len(near_duplicates(images, np.arange(70))) == 0


def test_many_equal_images_cost_no_pairs_of_each_with_each():
    blank = np.full((3000, 1, 16, 16), 255, np.uint8)
    assert len(near_duplicates(blank, np.arange(3000))) == 0  # nothing is the same in nothing
    same = np.repeat(scene(1, 16), 3000, 0)
    pairs = near_duplicates(same, np.arange(3000))
    assert 2999 <= len(pairs) < 40 * 3000


@pytest.mark.parametrize("shape", [(0, 1, 64, 64), (3, 3, 8, 8), (3, 1, 33, 33)])
def test_any_size_and_number_has_hashes(shape):
    assert perceptual_hashes(np.zeros(shape, np.uint8)).shape == (shape[0],)
