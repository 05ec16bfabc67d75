"""Drawing in local coordinates, and the source of synthetic images."""

import numpy as np
import pytest
from PIL import Image

from fewlabels.data.flowers import Flowers
from fewlabels.data.plankton import Plankton
from fewlabels.data.synthetic import drawing
from fewlabels.data.synthetic.drawing import PER_CLASS, Canvas, add_camera_noise, synthetic_source
from fewlabels.data.synthetic.synthetic_flowers import FLOWERS, flower
from fewlabels.data.synthetic.synthetic_plankton import ORGANISMS, organism


def test_local_coordinates_are_rotated_flattened_scaled_and_translated():
    canvas = Canvas(Image.new("L", (96, 96)), np.random.default_rng(0), np.pi / 2, 10.0, (40.0, 50.0))
    flattening = np.random.default_rng(0).uniform(0.8, 1.0)
    points = np.array(canvas.to_pixels(np.array([[0, 0], [1, 0], [0, 1]])))
    assert points == pytest.approx(np.array([[40, 50], [40, 50 + 10 * flattening], [30, 50]]))


def test_shapes_have_the_given_colour_and_size():
    image = Image.new("L", (96, 96), 0)
    canvas = Canvas(image, np.random.default_rng(0), 0.0, 20.0, (48.0, 48.0))
    canvas.ellipse(0, 0, 1, 1, 100)
    flattening = np.random.default_rng(0).uniform(0.8, 1.0)
    assert (np.asarray(image) == 100).sum() == pytest.approx(np.pi * 20 * 20 * flattening, rel=0.05)
    canvas.line(np.array([[-2, 2], [2, 2]]), 200, 0.2)
    assert (np.asarray(image) == 200).any(axis=1).sum() == pytest.approx(4, abs=1)


def test_camera_noise_has_the_mean_of_the_image():
    noisy = add_camera_noise(np.full((64, 64), 100.0), np.random.default_rng(0))
    assert noisy.dtype == np.uint8
    assert noisy.mean() == pytest.approx(99.5, abs=0.5)  # conversion to integers truncates
    assert 1.5 < noisy.std() < 8.5


@pytest.mark.parametrize(
    ("name", "classes", "draw", "channels", "stamp"),
    [
        ("plankton", ORGANISMS, organism, 1, "4 pad synthetic 1"),
        ("flowers", FLOWERS, flower, 3, "4 pad synthetic 1"),
    ],
)
def test_the_stamp_of_synthetic_images_never_changes(name, classes, draw, channels, stamp):
    source = synthetic_source(name, list(classes), draw, resize="pad", size=64, channels=channels)
    assert (source.name, source.stamp, source.shape) == (f"{name}-synthetic", stamp, (channels, 64, 64))
    assert source.synthetic


@pytest.mark.parametrize(
    ("data_module", "channels", "count"), [(Plankton, 1, len(ORGANISMS)), (Flowers, 3, len(FLOWERS))]
)
def test_without_data_images_are_synthetic_and_a_notice_says_so(make_synthetic, data_module, channels, count):
    module = make_synthetic(data_module, channels=channels)
    assert module.synthetic
    assert any("SYNTHETIC" in notice and "data.root" in notice for notice in module.notices)
    assert len(module.classes) == count
    assert module.images(np.arange(3)).shape == (3, channels, 32, 32)
    assert (np.bincount(module.labels) == PER_CLASS).all()
    assert all("/synthetic-" in path for path in module.paths)


def test_synthetic_images_do_not_depend_on_the_seed_or_earlier_runs(make_synthetic, tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "PER_CLASS", 6)
    first = make_synthetic(Plankton, seed=1, cache_dir=str(tmp_path / "first"))
    other = make_synthetic(Plankton, seed=2, cache_dir=str(tmp_path / "other"))
    rows = np.arange(6 * len(ORGANISMS))
    assert first.paths == other.paths
    assert (first.images(rows) == other.images(rows)).all()
