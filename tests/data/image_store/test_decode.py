"""Decoding all kinds of image files."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fewlabels.data.image_store.decode import (
    RESIZES,
    Decoding,
    Target,
    content_digest,
    decode,
    decode_chunk,
    decode_rows,
)  # fmt: skip

QUICK = settings(max_examples=25, deadline=None, database=None)


def read(file, size=8, channels=1, resize="squash"):
    out = np.zeros((channels, size, size), np.uint8)
    with file.open("rb") as opened:
        decode(opened, out, Decoding(resize))
    return out


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(1, 4000), (4000, 1), (1, 1), (3, 5)])
def test_images_of_any_shape_fill_the_square(tmp_path, resize, channels, shape):
    Image.new("L", shape, 77).save(tmp_path / "x.png")
    assert (read(tmp_path / "x.png", 64, channels, resize) == 77).all()


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [([[0, 257], [25700, 65535]], [[0, 1], [100, 255]]), ([[128, 129], [385, 386]], [[0, 1], [1, 2]])],
)
@pytest.mark.parametrize("extension", ["png", "tif"])
def test_16_bit_images_are_scaled_to_8_bits(tmp_path, pixels, expected, extension):
    Image.fromarray(np.array(pixels, np.uint16)).save(tmp_path / f"x.{extension}")
    assert (read(tmp_path / f"x.{extension}", 2) == [expected]).all()
    assert (read(tmp_path / f"x.{extension}", 2, 3) == [expected] * 3).all()


def test_32_bit_images_are_scaled_to_8_bits(tmp_path):
    Image.fromarray(np.array([[0, 25700], [257, 65535]], np.int32)).save(tmp_path / "as16.tif")
    assert (read(tmp_path / "as16.tif", 2) == [[[0, 100], [1, 255]]]).all()
    Image.fromarray(np.array([[0, 100 * 0x01010101], [0, 2**31 - 1]], np.int32)).save(tmp_path / "as32.tif")
    assert (read(tmp_path / "as32.tif", 2) == [[[0, 100], [0, 127]]]).all()


def test_cmyk_is_converted_to_rgb(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "red.tif")
    assert read(tmp_path / "red.tif", channels=3)[:, 0, 0].tolist() == [255, 0, 0]
    assert read(tmp_path / "red.tif", channels=1)[0, 0, 0] == 76  # the luminance of red


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_transparency_is_composited_on_white(tmp_path, mode, channels):
    image = Image.new("LA", (8, 8), (40, 255))
    image.paste((0, 0), (0, 0, 4, 8))
    extension = "gif" if mode == "P" else "tif" if mode == "PA" else "png"
    if mode == "P":
        index = np.zeros((8, 8), np.uint8)
        index[:, 4:] = 1
        palette = Image.fromarray(index).convert("P")
        palette.putpalette([9, 9, 9, 40, 40, 40])
        palette.save(tmp_path / "x.gif", transparency=0)
    else:
        image.convert("RGBA" if mode == "PA" else mode).save(tmp_path / f"x.{extension}")
    out = read(tmp_path / f"x.{extension}", 8, channels)
    assert (out[:, :, :4] == 255).all()
    assert (out[:, :, 4:] == 40).all()


def test_palettes_and_1_bit_images_are_converted(tmp_path):
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    palette.save(tmp_path / "x.png")
    assert read(tmp_path / "x.png", channels=3)[:, 4, 4].tolist() == [10, 200, 30]
    Image.new("1", (8, 8), 1).save(tmp_path / "y.png")
    assert (read(tmp_path / "y.png") == 255).all()


def test_a_transparent_shade_of_grey_is_composited_on_white(tmp_path):
    Image.new("L", (8, 8), 7).save(tmp_path / "x.png", transparency=7)
    assert (read(tmp_path / "x.png") == 255).all()


@pytest.mark.parametrize("extension", ["jpg", "png", "tif", "webp"])
def test_exif_orientation_is_applied_once(tmp_path, extension):
    image = Image.new("L", (8, 8), 255)
    image.paste(0, (0, 0, 8, 4))  # the upper half is dark
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90° clockwise for display
    image.save(tmp_path / f"x.{extension}", exif=exif, **({"lossless": True} if extension == "webp" else {}))
    out = read(tmp_path / f"x.{extension}")[0]
    assert out[:, 5:].max() < 10
    assert out[:, :3].min() > 245


def test_pad_keeps_the_complete_image_on_its_background(tmp_path):
    image = Image.new("RGB", (64, 32), (10, 20, 30))
    image.paste((200, 100, 50), (24, 8, 40, 24))
    image.save(tmp_path / "x.png")
    out = read(tmp_path / "x.png", 32, 3, "pad")
    assert (out[:, :8] == np.array([10, 20, 30])[:, None, None]).all()
    assert (out[:, 24:] == np.array([10, 20, 30])[:, None, None]).all()
    assert out[:, 16, 16].tolist() == [200, 100, 50]


def test_crop_takes_the_central_square(tmp_path):
    row = np.repeat(np.arange(32, dtype=np.uint8)[None], 8, axis=0)
    Image.fromarray(row).save(tmp_path / "x.png")
    assert (read(tmp_path / "x.png", 8, 1, "crop")[0, 0] == np.arange(12, 20)).all()


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_reduced_jpeg_decoding_gives_the_same_image(tmp_path, smooth_image, resize, channels):
    large = Image.fromarray(smooth_image).resize((1024, 768), Image.Resampling.BICUBIC)
    large.save(tmp_path / "x.jpg", quality=95)
    large.save(tmp_path / "x.png")
    reduced, full = (
        read(tmp_path / f"x.{extension}", 32, channels, resize).astype(int) for extension in ("jpg", "png")
    )
    assert np.abs(reduced - full).mean() < 2
    assert np.abs(reduced - full).max() < 20


def write_damaged(folder):
    """Write four files that are not complete images."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(folder / "cut.jpg")
    complete = (folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(complete[: len(complete) // 2])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("not an image")
    Image.fromarray(np.full((4, 4), 3, np.float32)).save(folder / "float.tif")
    return ["cut.jpg", "empty.png", "text.png", "float.tif"]


def test_damaged_images_are_reported_with_a_reason(tmp_path):
    files = write_damaged(tmp_path)
    out = np.zeros((4, 1, 8, 8), np.uint8)
    digests, reasons, _ = decode_rows(str(tmp_path), files, out, Decoding())
    assert "truncated" in reasons[0]
    assert digests.tolist() == [content_digest((tmp_path / name).read_bytes()) for name in files]
    assert len(set(digests.tolist())) == 4
    assert reasons[1] == reasons[2] == "not an image of a known format"
    assert "floating-point" in reasons[3]


def test_a_decompression_bomb_is_reported(tmp_path, monkeypatch):
    Image.new("L", (100, 100)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    reasons = decode_rows(str(tmp_path), ["x.png"], np.zeros((1, 1, 8, 8), np.uint8), Decoding()).reasons
    assert "DecompressionBomb" in reasons[0]


@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_damage_that_the_format_tells_of_is_reported(tmp_path, smooth_image, extension):
    large = Image.fromarray(smooth_image).resize((256, 192))
    large.save(tmp_path / f"whole.{extension}")
    content = (tmp_path / f"whole.{extension}").read_bytes()
    half = len(content) // 2
    flipped = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
    zeros = content[:half] + bytes(len(content) - half)
    (tmp_path / f"damaged.{extension}").write_bytes(flipped if extension == "png" else zeros)
    (tmp_path / f"appended.{extension}").write_bytes(content + bytes(100))
    names = [f"{name}.{extension}" for name in ("whole", "damaged", "appended")]
    out = np.zeros((3, 3, 8, 8), np.uint8)
    reasons = decode_rows(str(tmp_path), names, out, Decoding()).reasons
    assert list(reasons) == [1]
    assert "damaged: " in reasons[1]
    assert (out[0] == out[2]).all()


@QUICK
@given(st.integers(1, 12), st.sampled_from([1, 3]), st.sampled_from(RESIZES), st.integers(0, 2**32))
def test_images_of_the_target_size_are_stored_unchanged(size, channels, resize, seed):
    images = np.random.default_rng(seed).integers(0, 256, (3, size, size, channels), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as name:
        for number, pixels in enumerate(images):
            Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels).save(Path(name) / f"{number}.png")
        target = Target(str(Path(name) / "array"), 7, (channels, size, size))
        Path(target.file).touch()
        rows, decoded = decode_chunk(name, ["1.png", "2.png"], Decoding(resize), target, range(1, 3))
        assert (rows, len(decoded.digests), decoded.reasons) == (range(1, 3), 2, {})
        assert decode_chunk(name, ["0.png"], Decoding(resize), target, [0])[1].reasons == {}
        stored = np.fromfile(target.file, np.uint8)[7:].reshape(3, channels, size, size)
    assert (stored == images.transpose(0, 3, 1, 2)).all()


def test_a_chunk_reports_its_unreadable_files(tmp_path):
    files = write_damaged(tmp_path)
    target = Target(str(tmp_path / "array"), 0, (1, 8, 8))
    (tmp_path / "array").touch()
    rows, decoded = decode_chunk(str(tmp_path), files, Decoding(), target, range(100, 104))
    assert (rows, len(decoded.digests)) == (range(100, 104), 4)
    assert sorted(decoded.reasons) == [0, 1, 2, 3]
