"""Synthetic plankton."""

import hashlib

import numpy as np
import pytest

from fewlabels.data.plankton import Plankton
from fewlabels.data.synthetic.synthetic_plankton import ORGANISMS, organism


@pytest.mark.parametrize("name", ORGANISMS)
def test_images_depend_on_the_generator_only(name):
    first, same, other = (organism(name, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first.dtype == np.uint8
    assert first.shape == (96, 96)
    assert (first == same).all()
    assert np.abs(first.astype(int) - other).mean() > 1
    assert first.std() > 3


def test_pixels_never_change():
    digest = hashlib.sha256()
    for name in ORGANISMS:
        for seed in range(3):
            digest.update(organism(name, np.random.default_rng(seed)).tobytes())
    assert digest.hexdigest()[:16] == "b84318d518e653df"


def test_classes_can_be_learned_but_not_from_brightness_alone(make_synthetic, accuracies):
    module = make_synthetic(Plankton, channels=1)
    knn, brightness = accuracies(module)
    assert knn > 2.5 / len(module.classes)
    assert brightness < 2.5 / len(module.classes)
