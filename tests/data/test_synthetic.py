"""The drawn stand-ins: many kinds, always the same, told apart, and never taken for real."""

import numpy as np
import pytest

from fewlabels.data.bouquet import FLOWERS, flower
from fewlabels.data.flowers import Flowers
from fewlabels.data.organisms import ORGANISMS, organism
from fewlabels.data.plankton import Plankton
from fewlabels.data.synthetic import PER_CLASS

DRAWN = [(organism, name) for name in ORGANISMS] + [(flower, name) for name in FLOWERS]


@pytest.mark.parametrize(("draw", "name"), DRAWN)
def test_drawings_vary_with_the_generator_only(draw, name):
    first, again, other = (draw(name, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first.dtype == np.uint8
    assert first.shape[:2] == (96, 96)
    assert (first == again).all()
    assert np.abs(first.astype(int) - other).mean() > 1
    assert first.std() > 3


@pytest.fixture
def made(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(kind, **options):
        module = kind(**settings | {"size": 32, "url": "https://example.org/x.tar"} | options)
        module.prepare_data()
        module.setup()
        return module

    return make


@pytest.mark.parametrize(("kind", "channels", "count"), [(Plankton, 1, len(ORGANISMS)), (Flowers, 3, len(FLOWERS))])
def test_with_nothing_on_disk_a_set_is_drawn_and_says_so(made, kind, channels, count):
    module = made(kind, channels=channels)
    assert module.synthetic
    assert any("SYNTHETIC" in notice and "data.root" in notice for notice in module.notices)
    assert len(module.classes) == count
    assert module.images(np.arange(3)).shape == (3, channels, 32, 32)
    assert (np.bincount(module.labels) == PER_CLASS).all()
    assert all("/synthetic-" in path for path in module.paths)


def test_the_drawings_hang_neither_on_the_seed_nor_on_earlier_runs(made, tmp_path):
    first = made(Plankton, seed=1)
    other = made(Plankton, seed=2, cache_dir=str(tmp_path / "other"))
    rows = np.arange(0, len(first.paths), 50)
    assert first.paths == other.paths
    assert (first.images(rows) == other.images(rows)).all()


@pytest.mark.parametrize(("kind", "channels"), [(Plankton, 1), (Flowers, 3)])
def test_the_kinds_can_be_learned_but_not_from_brightness_alone(made, kind, channels):
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    module = made(kind, channels=channels)
    train, test = module.indices("train"), module.indices("test")
    pixels = module.images(np.arange(len(module.paths))).numpy().astype(np.float32) / 255
    spectrum = np.log1p(np.abs(np.fft.rfft2(pixels.mean(axis=1)))).reshape(len(pixels), -1)  # knows no position
    brightness = pixels.reshape(len(pixels), -1).mean(axis=1, keepdims=True)
    labels, chance = module.labels, 1 / len(module.classes)
    nearest = KNeighborsClassifier(5).fit(spectrum[train], labels[train]).score(spectrum[test], labels[test])
    shade = LogisticRegression().fit(brightness[train], labels[train]).score(brightness[test], labels[test])
    assert nearest > 2.5 * chance
    assert shade < 2.5 * chance
