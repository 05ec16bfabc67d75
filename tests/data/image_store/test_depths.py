"""Depths, byte orders and channels that Pillow reads wrongly or in part, against NumPy."""

import importlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewlabels.core.errors import UserError
from fewlabels.data.image_store.decode import Decoding
from fewlabels.data.image_store.depths import eight_bits
from fewlabels.data.image_store.folder import folder_source
from fewlabels.data.image_store.store import open_store

VALUES = np.random.default_rng(0).integers(0, 4096, (8, 8, 3)).astype(np.uint16)
VALUES[0, 0] = 4095


@pytest.fixture
def writers(monkeypatch):
    """benchmarks/_image_writers.py, which writes what Pillow cannot."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
    return importlib.import_module("_image_writers")


@pytest.fixture
def read(tmp_path):
    """Read one file by its content, as stored: uint8 [C, 8, 8]."""

    def open_one(content, extension, channels=3, **decoding):
        (tmp_path / "images").mkdir()
        (tmp_path / "images" / f"a.{extension}").write_bytes(content)
        source = folder_source(tmp_path / "images", "some", Decoding("squash", **decoding), size=8, channels=channels)
        return open_store(source, tmp_path / "cache")

    return open_one


def scaled(values, white):
    return np.rint(np.clip(values.astype(float) * 255 / white, 0, 255))


@pytest.mark.parametrize("form", ["png", "png Adam7", "tif <", "tif >", "tif < deflate", "tif > deflate"])
def test_colours_of_12_bits_in_16_are_scaled_by_the_white_of_the_set(writers, read, form):
    content = (
        writers.png(VALUES, 16, adam7="Adam7" in form) if form.startswith("png")
        else writers.tiff([VALUES], photometric=2, order=form[4], compressed="deflate" in form)
    )  # fmt: skip
    store = read(content, form[:3])
    assert (store.images[0] == np.moveaxis(scaled(VALUES, 4095), 2, 0)).all()
    assert (store.white, int(store.facts["bits"][0]), int(store.facts["high"][0])) == (4095, 16, 4095)


@pytest.mark.parametrize("grey", [True, False])
def test_transparent_deep_colours_are_composited_on_white(writers, read, grey):
    opacity = np.full((8, 8, 1), 65535, np.uint16)
    opacity[:4] = 0
    shown = VALUES[..., :1] if grey else VALUES
    store = read(writers.png(np.concatenate((shown, opacity), 2), 16), "png", white=4095.0)
    expected = np.broadcast_to(scaled(shown, 4095), (8, 8, 3)).copy()
    expected[:4] = 255
    assert (store.images[0] == np.moveaxis(expected, 2, 0)).all()


def test_eight_bits_of_deep_colours_from_a_path_are_the_same_and_leave_no_file_open(writers, tmp_path):
    for name, content in (("a.png", writers.png(VALUES, 16)), ("a.tif", writers.tiff([VALUES] * 2, photometric=2))):
        (tmp_path / name).write_bytes(content)
        with Image.open(tmp_path / name) as image:
            assert (np.asarray(eight_bits(image, 4095)) == scaled(VALUES, 4095)).all()


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_one_transparent_value_is_white(writers, read, bits, channels):
    values = (VALUES[..., :channels] % 256) * (257 if bits == 16 else 1)
    values[0, 1] = 65535 if bits == 16 else 255
    store = read(writers.png(values, bits, transparent=values[3, 3].tolist()), "png")
    expected = np.broadcast_to(values // (257 if bits == 16 else 1), (8, 8, 3)).copy()
    expected[(values == values[3, 3]).all(2)] = 255
    assert (store.images[0] == np.moveaxis(expected, 2, 0)).all()


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_where_white_is_zero_values_are_inverted(writers, read, kind):
    values = VALUES[..., :1] if kind == np.uint16 else (VALUES[..., :1] / 4095).astype(kind)
    store = read(writers.tiff([values], photometric=0), "tif", channels=1)
    assert (store.images[0, 0] == 255 - scaled(VALUES[..., 0], 4095)).all()


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tile", [0, 16])
def test_numbers_of_both_byte_orders_are_read_compressed_too(writers, read, kind, order, tile):
    values = (VALUES[..., :1] / (4095 if kind == np.float32 else 1)).astype(kind)
    store = read(writers.tiff([values], order=order, compressed=True, tile=tile), "tif", channels=1)
    assert (store.images[0, 0] == scaled(VALUES[..., 0], 4095)).all()


def test_signed_numbers_of_8_bits_are_black_below_zero(writers, read):
    values = np.arange(-32, 32, dtype=np.int8).reshape(8, 8, 1)
    store = read(writers.tiff([values]), "tif", channels=1)
    assert (store.images[0, 0] == np.maximum(values[..., 0], 0)).all()
    assert "1 images have negative values, which are black: a.tif" in store.notices


@pytest.mark.parametrize(
    ("options", "count", "reason"),
    [
        ({"photometric": 2, "extra": [0]}, 4, "4 channels, 1 of them without a stated meaning"),
        ({"photometric": 1, "extra": [0]}, 2, "2 channels, 1 of them without a stated meaning"),
        ({"photometric": 2, "planar": True}, 3, "each in a plane of its own"),
    ],
)
def test_channels_that_would_be_dropped_or_misread_are_refused(writers, read, options, count, reason):
    values = np.tile(VALUES[..., :1], (1, 1, count))
    pixels = values if options.get("planar") else (values // 16).astype(np.uint8)
    with pytest.raises(UserError, match=reason):
        read(writers.tiff([pixels], **options), "tif")


def test_each_page_has_a_depth_and_a_size_of_its_own(writers, read):
    pages = [(VALUES[..., :1] // 16).astype(np.uint8), VALUES[..., :1], np.full((4, 4, 1), 300, np.uint16)]
    store = read(writers.tiff(pages), "tif", channels=1, pages="all")
    assert (store.images[0, 0] == pages[0][..., 0]).all()
    assert (store.images[1, 0] == scaled(VALUES[..., 0], 4095)).all()
    assert (store.images[2] == round(300 * 255 / 4095)).all()
    assert store.facts["bits"].tolist() == [8, 16, 16]
    assert store.facts["width"].tolist() == [8, 8, 4]


def test_nothing_of_libtiff_is_printed(writers, read, capfd):
    content = bytearray(writers.tiff([VALUES], photometric=2, compressed=True))
    content[20:60] = bytes(40)
    with pytest.raises(UserError, match="1 of 1 images cannot be read"):
        read(bytes(content), "tif")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("value", [0, 9, 300, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(read, value):
    from io import BytesIO

    exif = Image.Exif()
    exif[0x0112] = value
    pixels = (VALUES[..., 0] // 16).astype(np.uint8)
    Image.fromarray(pixels).save(buffer := BytesIO(), "PNG", exif=exif)
    store = read(buffer.getvalue(), "png", channels=1)
    assert (store.images[0, 0] == pixels).all()
    assert store.facts["orientation"].tolist() == [1]


@pytest.mark.parametrize("shape", [(0, 8), (8, 0)])
def test_no_pixels_are_said_to_be_none(writers, read, shape):
    content = bytearray(writers.png(VALUES, 16))
    content[8:33] = writers.chunk(b"IHDR", struct.pack(">IIBBBBB", *shape, 16, 2, 0, 0, 0))
    with pytest.raises(UserError, match="1 of 1 images cannot be read"):
        read(bytes(content), "png")


def test_a_closed_standard_error_does_not_matter(writers, read, monkeypatch):
    def closed(descriptor, dup=os.dup):
        if descriptor == 2:
            raise OSError(9, "Bad file descriptor")
        return dup(descriptor)

    monkeypatch.setattr(os, "dup", closed)
    assert read(writers.tiff([VALUES[..., :1]]), "tif", channels=1).white == 4095
