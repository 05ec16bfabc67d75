"""What is noted of files while they are decoded: depths, pages, negative values; one white point for a whole set."""

import numpy as np
import pytest
from PIL import Image

from fewlabels.core.errors import UserError
from fewlabels.data.image_store.decode import Decoding
from fewlabels.data.image_store.folder import folder_source
from fewlabels.data.image_store.store import open_store


def stored(root, cache, channels=1, **decoding):
    """The store of a folder at 4 pixels."""
    return open_store(folder_source(root, "some", Decoding("squash", **decoding), size=4, channels=channels), cache)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def save(file, values, kind=np.uint16):
    Image.fromarray(np.broadcast_to(np.asarray(values, kind), (4, 4)).copy()).save(file)


def shades(store):
    """Upper left pixel of each image."""
    return dict(zip(store.paths, store.images[:, 0, 0, 0].tolist(), strict=True))


@pytest.mark.parametrize("extension", ["png", "tif"])
@pytest.mark.parametrize(("highest", "white"), [
    (200, 255), (256, 1023), (1023, 1023), (1024, 4095), (4095, 4095), (4096, 16383), (16384, 65535), (65535, 65535),
])  # fmt: skip
def test_the_bits_that_are_used_tell_what_is_white_in_the_whole_set(root, cache, highest, white, extension):
    save(root / f"bright.{extension}", highest)
    save(root / f"dim.{extension}", highest // 2)
    Image.new("L", (4, 4), 77).save(root / "eight_bits.png")
    store = stored(root, cache)
    assert shades(store) == {
        f"bright.{extension}": round(highest * 255 / white), f"dim.{extension}": round(highest // 2 * 255 / white),
        "eight_bits.png": 77,
    }  # fmt: skip
    assert store.white == white
    (notice,) = store.notices
    assert notice.startswith(f"2 images have more than 8 bits, with values up to {highest:,}: {white:,} is white")
    assert stored(root, cache).notices == store.notices  # when it is opened again


def test_what_is_white_can_be_said_and_more_is_white_too(root, cache):
    save(root / "a.png", 500)
    save(root / "b.png", 2000)
    store = stored(root, cache, white=1000.0)
    assert shades(store) == {"a.png": 128, "b.png": 255}
    assert store.white == 1000


def test_a_set_of_eight_bits_has_no_white_and_no_notice(root, cache):
    Image.new("L", (4, 4), 77).save(root / "a.png")
    store = stored(root, cache)
    assert (store.white, store.notices) == (None, ())
    status = (root / "a.png").stat()
    assert store.facts[0].tolist() == (4, 4, 1, 1, False, 8, False, 0, 0, status.st_size, status.st_mtime_ns)


@pytest.mark.parametrize("kind", [np.int16, np.int32])
def test_negative_values_are_black_and_leave_the_others_as_they_are(root, cache, kind):
    values = np.full((4, 4), 2000, kind)
    values[0, 0] = -5
    Image.fromarray(values.astype(np.int32)).save(root / "a.tif") if kind == np.int32 else write_int16(root, values)
    store = stored(root, cache)
    assert store.images[0, 0].ravel()[:2].tolist() == [0, round(2000 * 255 / 4095)]
    assert "1 images have negative values, which are black: a.tif" in store.notices


def write_int16(root, values):
    """A TIFF of signed 16-bit numbers, which Pillow reads and does not write."""
    Image.fromarray(values.view(np.uint16)).save(root / "a.tif", tiffinfo={339: 2})
    with Image.open(root / "a.tif") as image:
        assert np.asarray(image).min() == -5


def test_real_numbers_up_to_one_are_read_and_others_need_a_white(root, cache):
    save(root / "a.tif", 0.5, np.float32)
    save(root / "b.tif", 1.0, np.float32)
    assert shades(stored(root, cache)) == {"a.tif": 128, "b.tif": 255}
    save(root / "b.tif", 3000.0, np.float32)
    with pytest.raises(UserError, match=r"values up to 3000: which of them is white\? Give data.white"):
        stored(root, cache)
    assert shades(stored(root, cache, white=4000.0)) == {"a.tif": 0, "b.tif": 191}
    save(root / "c.tif", np.nan, np.float32)
    with pytest.raises(UserError, match="values that are no numbers"):
        stored(root, cache, white=4000.0)


@pytest.mark.parametrize("extension", ["tif", "gif", "webp", "png"])
def test_of_several_pages_the_first_is_read_and_said_or_all_are(root, cache, extension):
    pages = [Image.new("L", (4, 4), shade) for shade in (0, 100, 200)]
    pages[0].save(root / f"b.{extension}", save_all=True, append_images=pages[1:],
                  **({"lossless": True} if extension == "webp" else {}))  # fmt: skip
    Image.new("L", (4, 4), 50).save(root / "a.png")
    first = stored(root, cache)
    assert shades(first) == {"a.png": 50, f"b.{extension}": 0}
    assert first.notices == (
        f"1 files have several pages or frames, 3 in all, of which the first is read: b.{extension}. For all of them "
        "give data.pages=all.",
    )
    every = stored(root, cache, pages="all")
    assert shades(every) == {
        "a.png": 50, f"b.{extension}#1": 0, f"b.{extension}#2": 100, f"b.{extension}#3": 200,
    }  # fmt: skip
    assert every.notices == ()
    assert len(set(every.digests.tolist())) == 4


def test_edges_are_cut_off_the_upright_image_first(root, cache):
    pixels = np.full((10, 8), 100, np.uint8)
    pixels[:1], pixels[:, -2:], pixels[-3:], pixels[:, :4] = 1, 2, 3, 4
    pixels[1:7, 4:6] = 100
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.fromarray(pixels)
    upright.rotate(90, expand=True).save(root / "turned.png", exif=exif)
    upright.save(root / "as_it_is.png")
    store = stored(root, cache, crop_edges=(1, 2, 3, 4))
    assert (store.images == 100).all()
    with pytest.raises(UserError, match=r"8 x 10 pixels are too few to cut off data.crop_edges=\[5, 0, 5, 0\]"):
        stored(root, cache, crop_edges=(5, 0, 5, 0))


def test_edges_are_cut_in_pixels_of_the_file_also_where_a_jpeg_is_decoded_smaller(root, cache):
    pixels = np.full((640, 640), 255, np.uint8)
    pixels[:, 320:] = 0
    Image.fromarray(pixels).save(root / "a.jpg", quality=95)
    assert stored(root, cache, crop_edges=(0, 320, 0, 0)).images.min() > 250


@pytest.mark.parametrize("extension", ["pgm", "ppm", "jp2", "avif"])
def test_other_formats_that_pillow_reads_are_read(root, cache, extension):
    Image.new("RGB", (16, 16), (100, 100, 100)).save(root / f"a.{extension}")
    assert abs(int(stored(root, cache).images[0, 0, 0, 0]) - 100) <= 2


def test_16_bit_pgm_is_scaled_by_the_white_of_its_set(root, cache):
    (root / "a.pgm").write_bytes(b"P5 4 4 4095\n" + np.full(16, 4095, ">u2").tobytes())
    (root / "b.pgm").write_bytes(b"P5 4 4 4095\n" + np.full(16, 819, ">u2").tobytes())
    assert shades(stored(root, cache)) == {"a.pgm": 255, "b.pgm": 51}
