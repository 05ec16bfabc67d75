"""Synthetic flowers."""

import hashlib

import numpy as np
import pytest

from fewlabels.data.flowers import Flowers
from fewlabels.data.synthetic.synthetic_flowers import FLOWERS, flower


@pytest.mark.parametrize("name", FLOWERS)
def test_images_depend_on_the_generator_only(name):
    first, same, other = (flower(name, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first.dtype == np.uint8
    assert first.shape == (96, 96, 3)
    assert (first == same).all()
    assert np.abs(first.astype(int) - other).mean() > 1
    assert first.std() > 3


def test_pixels_never_change():
    digest = hashlib.sha256()
    for name in FLOWERS:
        for seed in range(3):
            digest.update(flower(name, np.random.default_rng(seed)).tobytes())
    assert digest.hexdigest()[:16] == "db9f0da3b7180beb"


def test_classes_can_be_learned_but_not_from_brightness_alone(make_synthetic, accuracies):
    module = make_synthetic(Flowers, channels=3)
    knn, brightness = accuracies(module)
    assert knn > 2.5 / len(module.classes)
    assert brightness < 2.5 / len(module.classes)
