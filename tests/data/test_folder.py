"""Listing folders and decoding what people keep in them."""

import logging
import os

import numpy as np
import pytest
from PIL import Image

from fewlabels.data import folder
from fewlabels.data.decode import RESIZES, decode, decode_rows
from fewlabels.data.folder import folder_source, scan_folder
from fewlabels.data.store import open_store
from fewlabels.errors import UserError


def paths(root):
    return [path for path, _, _ in scan_folder(root)]


def read(file, size=8, channels=1, resize="squash"):
    out = np.zeros((channels, size, size), np.uint8)
    decode(file, out, resize)
    return out


def test_lists_nested_images_sorted_whatever_their_extension(tree):
    root = tree({"b/2.png": 0, "a/deep/er/1.JPG": 0, "a/0.bmp": 0, "top.tif": 0, ".hidden/x.png": 0, "a/._0.png": 0})
    (root / "notes.txt").write_text("not an image")
    assert paths(root) == ["a/0.bmp", "a/deep/er/1.JPG", "b/2.png", "top.tif"]


def test_follows_links_but_not_in_circles(tree, tmp_path):
    root = tree({"a/0.png": 0})
    (root / "b").symlink_to(tmp_path / "images" / "a")
    (root / "a" / "up").symlink_to(root)
    assert "b/0.png" in paths(root)
    assert len(paths(root)) < 10


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda root: None, "does not exist"),
        (lambda root: root.write_text("x"), "is a file"),
        (lambda root: root.mkdir(), "found: nothing"),
        (lambda root: (root.mkdir(), (root / "a.txt").write_text("x"), (root / "b").write_text("x")), "1 .txt"),
    ],
)
def test_says_what_is_wrong_with_a_folder(tmp_path, make, says):
    make(tmp_path / "root")
    with pytest.raises(UserError, match=r"data\.root") as caught:
        scan_folder(tmp_path / "root")
    assert says in str(caught.value)


def test_an_unreadable_folder_is_named(tree, monkeypatch):
    root = tree({"a/0.png": 0})
    real = os.scandir

    def scandir(path):
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UserError, match=r"no permission to read .*/a\."):
        scan_folder(root)


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(1, 4000), (4000, 1), (1, 1), (3, 5)])
def test_any_shape_fits(tmp_path, resize, channels, shape):
    Image.new("L", shape, 77).save(tmp_path / "x.png")
    assert (read(tmp_path / "x.png", 64, channels, resize) == 77).all()


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [([[0, 257], [25700, 65535]], [[0, 1], [100, 255]]), ([[128, 129], [385, 386]], [[0, 1], [1, 2]])],
)
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_sixteen_bits_become_eight(tmp_path, pixels, expected, kind):
    Image.fromarray(np.array(pixels, np.uint16)).save(tmp_path / f"x.{kind}")
    assert (read(tmp_path / f"x.{kind}", 2) == [expected]).all()
    assert (read(tmp_path / f"x.{kind}", 2, 3) == [expected] * 3).all()


def test_thirty_two_bits_become_eight(tmp_path):
    Image.fromarray(np.array([[0, 25700], [257, 65535]], np.int32)).save(tmp_path / "as16.tif")
    assert (read(tmp_path / "as16.tif", 2) == [[[0, 100], [1, 255]]]).all()
    Image.fromarray(np.array([[0, 100 * 0x01010101], [0, 2**31 - 1]], np.int32)).save(tmp_path / "as32.tif")
    assert (read(tmp_path / "as32.tif", 2) == [[[0, 100], [0, 127]]]).all()


def test_cmyk_is_read_as_colour(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "red.tif")
    assert read(tmp_path / "red.tif", channels=3)[:, 0, 0].tolist() == [255, 0, 0]
    assert read(tmp_path / "red.tif", channels=1)[0, 0, 0] == 76  # the luminance of red


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_transparency_lies_on_white(tmp_path, mode, channels):
    image = Image.new("LA", (8, 8), (40, 255))
    image.paste((0, 0), (0, 0, 4, 8))
    kind = "gif" if mode == "P" else "tif" if mode == "PA" else "png"
    if mode == "P":
        index = np.zeros((8, 8), np.uint8)
        index[:, 4:] = 1
        palette = Image.fromarray(index).convert("P")
        palette.putpalette([9, 9, 9, 40, 40, 40])
        palette.save(tmp_path / "x.gif", transparency=0)
    else:
        image.convert("RGBA" if mode == "PA" else mode).save(tmp_path / f"x.{kind}")
    out = read(tmp_path / f"x.{kind}", 8, channels)
    assert (out[:, :, :4] == 255).all()
    assert (out[:, :, 4:] == 40).all()


def test_a_palette_gives_its_colours_and_one_bit_black_and_white(tmp_path):
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    palette.save(tmp_path / "x.png")
    assert read(tmp_path / "x.png", channels=3)[:, 4, 4].tolist() == [10, 200, 30]
    Image.new("1", (8, 8), 1).save(tmp_path / "y.png")
    assert (read(tmp_path / "y.png") == 255).all()


def test_transparent_grey_in_a_plain_png_lies_on_white(tmp_path):
    Image.new("L", (8, 8), 7).save(tmp_path / "x.png", transparency=7)
    assert (read(tmp_path / "x.png") == 255).all()


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "webp"])
def test_the_cameras_orientation_is_applied_once(tmp_path, kind):
    image = Image.new("L", (8, 8), 255)
    image.paste(0, (0, 0, 8, 4))  # the upper half is dark
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to see it upright
    image.save(tmp_path / f"x.{kind}", exif=exif, **({"lossless": True} if kind == "webp" else {}))
    out = read(tmp_path / f"x.{kind}")[0]
    assert out[:, 5:].max() < 10
    assert out[:, :3].min() > 245


def test_padding_keeps_the_whole_image_on_its_background(tmp_path):
    image = Image.new("RGB", (64, 32), (10, 20, 30))
    image.paste((200, 100, 50), (24, 8, 40, 24))
    image.save(tmp_path / "x.png")
    out = read(tmp_path / "x.png", 32, 3, "pad")
    assert (out[:, :8] == np.array([10, 20, 30])[:, None, None]).all()
    assert (out[:, 24:] == np.array([10, 20, 30])[:, None, None]).all()
    assert out[:, 16, 16].tolist() == [200, 100, 50]


def test_cropping_takes_the_central_square(tmp_path):
    row = np.repeat(np.arange(32, dtype=np.uint8)[None], 8, axis=0)
    Image.fromarray(row).save(tmp_path / "x.png")
    assert (read(tmp_path / "x.png", 8, 1, "crop")[0, 0] == np.arange(12, 20)).all()


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_jpeg_short_cut_shows_the_same_image(tmp_path, noise, resize, channels):
    large = Image.fromarray(noise).resize((1024, 768), Image.Resampling.BICUBIC)
    large.save(tmp_path / "x.jpg", quality=95)
    large.save(tmp_path / "x.png")
    short, full = (read(tmp_path / f"x.{kind}", 32, channels, resize).astype(int) for kind in ("jpg", "png"))
    assert np.abs(short - full).mean() < 2
    assert np.abs(short - full).max() < 20


def damaged(folder):
    """Four files that are no whole images."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(folder / "cut.jpg")
    whole = (folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no image at all")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(folder / "float.tif")
    return ["cut.jpg", "empty.png", "text.png", "float.tif"]


def test_damaged_images_are_reported_with_a_reason(tmp_path):
    files = damaged(tmp_path)
    out = np.zeros((4, 1, 8, 8), np.uint8)
    reasons = decode_rows(str(tmp_path), files, out, "pad")
    assert "truncated" in reasons[0]
    assert reasons[1] == reasons[2] == "not an image of a known format"
    assert "floating-point" in reasons[3]


def test_a_decompression_bomb_is_reported(tmp_path, monkeypatch):
    Image.new("L", (100, 100)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    reasons = decode_rows(str(tmp_path), ["x.png"], np.zeros((1, 1, 8, 8), np.uint8), "pad")
    assert "DecompressionBomb" in reasons[0]


@pytest.mark.parametrize("workers", [1, 3])
def test_processes_decode_what_one_decodes(tree, tmp_path, monkeypatch, workers, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(folder, "processors", lambda: workers)
    count = 800
    root = tree({f"c{number % 7}/{number:04d}.png": number % 256 for number in range(count)})
    (root / "c0" / "bad.png").write_text("no image")
    source = folder_source(root, "some", resize="pad", size=8, channels=1)
    store = open_store(source, tmp_path / f"cache{workers}")
    assert len(store.paths) == len(store.images) == count
    shades = [int(path[-8:-4]) % 256 for path in store.paths]
    assert (store.images == np.array(shades)[:, None, None, None]).all()
    assert store.corrupt == {"c0/bad.png": "not an image of a known format"}


def test_a_helper_that_dies_is_an_error_and_not_a_hang(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "processors", lambda: 2)
    monkeypatch.setattr(folder.sys, "executable", "/bin/false")
    root = tree({f"{number:04d}.png": 0 for number in range(600)})
    with pytest.raises(UserError, match="decoding process ended"):
        open_store(folder_source(root, "some", resize="pad", size=8, channels=1), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.npy"))
    assert not list((tmp_path / "cache").glob("*.tmp"))
