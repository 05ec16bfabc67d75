"""Images of any number of channels: .npy files, and images whose channels are no colours."""

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from fewlabels.core.errors import UserError
from fewlabels.data.image_store.decode import Decoding
from fewlabels.data.image_store.depths import load_channels
from fewlabels.data.image_store.folder import folder_source, scan_folder
from fewlabels.data.image_store.store import open_store
from fewlabels.data.images import Images

DRAW = np.random.default_rng(0)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def stored(root, channels, size=8, resize="squash", **decoding):
    source = folder_source(root, "some", Decoding(resize, **decoding), size=size, channels=channels)
    return open_store(source, root.parent / "cache")


def npy(values):
    np.save(buffer := io.BytesIO(), values, allow_pickle=True)
    return io.BytesIO(buffer.getvalue())


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 13])
@pytest.mark.parametrize("first", [True, False])
def test_arrays_of_8_bits_are_stored_as_they_are_in_both_layouts(root, channels, first):
    values = DRAW.integers(0, 256, (8, 8, channels), dtype=np.uint8)
    if channels == 8:
        pytest.skip("ambiguous")
    np.save(root / "a.npy", np.moveaxis(values, 2, 0) if first else values)
    if channels == 1:
        np.save(root / "b.npy", values[..., 0])
    store = stored(root, channels)
    assert (store.images == np.moveaxis(values, 2, 0)).all()
    assert store.facts[0].tolist()[:9] == (8, 8, 1, 1, False, 8, False, 0, 0)
    assert store.notices == ()


@pytest.mark.parametrize("order", ["<", ">"])
def test_arrays_of_16_bits_have_one_white_for_the_set(root, order):
    values = DRAW.integers(0, 2000, (8, 8, 2)).astype(f"{order}u2")
    bright = values.copy()
    bright[0, 0, 1] = 4000
    np.save(root / "a.npy", values)
    np.save(root / "b.npy", bright)
    store = stored(root, 2)
    assert store.white == 4095
    for image, source in zip(store.images, (values, bright), strict=True):
        assert (image == np.moveaxis(np.rint(source * (255 / 4095)), 2, 0)).all()


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_real_arrays_are_up_to_1_or_need_a_white(root, kind):
    values = np.zeros((3, 3, 2), kind)
    values[0, :2] = [[0, 0.5], [1, 0.25]]
    np.save(root / "a.npy", values)
    assert (stored(root, 2, size=3).images[0] == np.moveaxis(np.rint(values.astype(float) * 255), 2, 0)).all()
    np.save(root / "a.npy", values * 100)
    with pytest.raises(UserError, match=r"values up to 100: which of them is white\? Give data.white"):
        stored(root, 2, size=3)
    assert (stored(root, 2, size=3, white=200.0).images[0] <= 128).all()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((8, 8, 3), np.uint8), r"an array of 8x8x3, for data.channels=2: give H x W x 2 or 2 x H x W"),
        (np.zeros((8, 8), np.uint8), r"an array of 8x8, for data.channels=2"),
        (np.zeros((2, 8, 2), np.uint8), r"2x8x2 may be H x W x 2 or 2 x H x W: which one cannot be told"),
        (np.zeros((8, 8, 2), np.int64), r"int64 in an .npy file: save uint8, uint16 or floating-point numbers"),
        (np.zeros((8, 8, 2), bool), "bool in an .npy file"),
        (np.zeros((8, 8, 2), complex), "complex128 in an .npy file"),
        (np.full((8, 8, 2), np.nan, np.float32), "values that are no numbers"),
        (np.zeros((0, 8, 2), np.uint8), "an array of 0x8x2"),
        (np.uint8(3), "an array of a single number"),
        (np.array([{}], object), "pickle"),
    ],
)
def test_other_arrays_are_refused_with_a_reason(values, reason):
    with pytest.raises(ValueError, match=reason):
        load_channels(npy(values), 2, None)


def test_arrays_never_run_code_and_damaged_ones_are_refused():
    class Harm:
        def __reduce__(self):
            return pytest.fail, ("run",)

    with pytest.raises(ValueError, match="pickle"):
        load_channels(npy(np.array([Harm()], object)), 2, None)
    whole = npy(np.zeros((8, 8, 2), np.uint8)).getvalue()
    for content in (whole[:-5], whole[:20], pickle.dumps([1])):
        with pytest.raises((ValueError, OSError)):
            load_channels(io.BytesIO(content), 2, None)


@pytest.mark.parametrize("resize", ["pad", "crop", "squash"])
def test_each_channel_is_resized_as_a_grey_image_is(root, resize):
    values = DRAW.integers(0, 256, (20, 30, 4), dtype=np.uint8)
    np.save(root / "a.npy", values)
    store = stored(root, 4, resize=resize, crop_edges=(1, 2, 3, 4))
    for channel in range(4):
        (root.parent / f"grey{channel}").mkdir()
        Image.fromarray(values[..., channel]).save(root.parent / f"grey{channel}" / "a.png")
        grey = stored(root.parent / f"grey{channel}", 1, resize=resize, crop_edges=(1, 2, 3, 4))
        assert (store.images[0, channel] == grey.images[0, 0]).all()


@pytest.mark.parametrize(("mode", "extension"), [("LA", "png"), ("LA", "tif"), ("RGBA", "png"), ("RGBA", "tif"),
                                                 ("CMYK", "tif")])  # fmt: skip
def test_channels_of_images_are_read_raw_if_their_number_is_that_asked_for(root, mode, extension):
    values = DRAW.integers(0, 256, (8, 8, len(mode)), dtype=np.uint8)
    Image.frombytes(mode, (8, 8), values.tobytes()).save(root / f"a.{extension}")
    assert (stored(root, len(mode)).images[0] == np.moveaxis(values, 2, 0)).all()
    with pytest.raises(UserError, match=rf"an image of mode {mode}, for data.channels=5; save such channels as .npy"):
        stored(root, 5)


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P"])
def test_images_of_other_numbers_of_channels_are_refused(root, mode):
    Image.new(mode, (8, 8)).save(root / "a.png")
    with pytest.raises(UserError, match=rf"an image of mode {mode}, for data.channels=2"):
        stored(root, 2)


def test_arrays_beside_images_are_images_only_if_their_channels_are_no_colours(root):
    np.save(root / "a.npy", np.zeros((8, 8), np.uint8))
    assert [path for path, _, _ in scan_folder(root).files] == ["a.npy"]
    Image.new("L", (8, 8)).save(root / "b.png")
    listing = scan_folder(root)
    assert [path for path, _, _ in listing.files] == ["b.png"]
    assert listing.notices() == ("Files that are not read: 1 .npy",)
    assert [path for path, _, _ in scan_folder(root, arrays=True).files] == ["a.npy", "b.png"]


def test_mean_and_std_are_one_value_or_one_per_channel(image_settings):
    five = image_settings | {"channels": 5, "std": [0.2]}
    assert Images(**five | {"mean": [0.5]}).mean == (0.5,) * 5
    assert Images(**five | {"mean": [0.1, 0.2, 0.3, 0.4, 0.5]}).mean == (0.1, 0.2, 0.3, 0.4, 0.5)
    with pytest.raises(UserError, match=r"has 3 values for data\.channels=5; give 1 or 5"):
        Images(**five | {"mean": [0.1, 0.2, 0.3]})


def test_data_sets_of_colours_have_no_other_channels(image_settings):
    from fewlabels.data.plankton import Plankton

    data = Plankton(**image_settings | {"channels": 2, "source": "synthetic", "url": ""})
    with pytest.raises(UserError, match=r"data\.channels=2: plankton-synthetic are grey or colours; give 1 or 3"):
        data.prepare_data()
