"""What is found in a folder: each kind of thing, and nothing where there is none."""

import numpy as np
import pytest
from PIL import Image

from fewlabels.data.doctor import pixels
from fewlabels.data.doctor.findings import examine


@pytest.fixture
def folder(tmp_path):
    """A function that writes smooth random images: `folder({"cat/1.png": {}, …})`, with a background and a size."""

    def write(files):
        for number, (path, options) in enumerate(files.items()):
            width, height = options.get("size", (96, 96))
            coarse = np.random.default_rng(options.get("seed", number)).integers(60, 190, (6, 6), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
            pixels = np.asarray(image).copy()
            background = options.get("background")
            if background is not None:
                pixels[:12], pixels[-12:], pixels[:, :12], pixels[:, -12:] = (background,) * 4
            if options.get("bar"):
                pixels[-10:-6, -50:-10] = 0
            if options.get("blank"):
                pixels[:] = 200
            (tmp_path / "images" / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "images" / path)
        return tmp_path / "images"

    return write


def found(make_module, root, **options):
    return {f.name: f for f in examine(make_module(root=str(root), size=32, **options))}


def test_in_ordinary_images_nothing_is_found(folder, make_module):
    assert found(make_module, folder({f"{name}/{n}.png": {} for name in "ab" for n in range(30)})) == {}


def test_copies_and_their_conflicts_are_pairs_of_rows(folder, make_module):
    files = {f"a/{n}.png": {"seed": n} for n in range(20)} | {f"b/{n}.png": {"seed": 100 + n} for n in range(20)}
    root = folder(files | {"a/again.png": {"seed": 3}, "b/other.png": {"seed": 7}})
    (root / "b" / "saved.jpg").write_bytes(b"")
    Image.open(root / "a" / "9.png").save(root / "b" / "saved.jpg", quality=85)
    module = make_module(root=str(root), size=32)
    findings = {f.name: f for f in examine(module)}

    def pairs(name):
        return [sorted(module.paths[row] for row in pair) for pair in findings[name].rows]

    assert sorted(pairs("Exact copies")) == [["a/3.png", "a/again.png"], ["a/7.png", "b/other.png"]]
    assert pairs("Exact copies of different classes") == [["a/7.png", "b/other.png"]]
    assert (
        pairs("Nearly the same images")
        == pairs("Nearly the same images of different classes")
        == [["a/9.png", "b/saved.jpg"]]
    )
    decided = {name for name, finding in findings.items() if finding.decide}
    assert decided == {"Exact copies of different classes", "Nearly the same images of different classes"}


def test_images_on_the_other_background_are_told_where_backgrounds_are_plain(folder, make_module):
    files = {f"{n}.png": {"background": 250 if n > 2 else 5} for n in range(40)}
    findings = found(make_module, folder(files))
    assert findings["Images on the other background"].number == 3
    assert "Theirs is dark" in findings["Images on the other background"].text
    assert findings["Images on the other background"].decide


def test_a_scale_bar_is_found_with_the_edges_that_cut_it_off(folder, make_module):
    root = folder({f"{n}.png": {"bar": True, "background": 250, "size": (110 + n, 100)} for n in range(40)})
    finding = found(make_module, root)["Marks in all images"]
    assert finding.remedy.startswith("'data.crop_edges=[0,0,10,0]'")
    assert "Marks in all images" not in found(make_module, root, crop_edges=(0, 0, 10, 0))
    assert pixels.burned_in_edges(root, [f"{n}.png" for n in range(10)], np.full(10, 100)) is None  # too few to tell


def test_classes_files_and_blank_images_are_told(folder, make_module):
    files = {f"cat/{n}.png": {} for n in range(20)} | {f"Cat_/{n}.png": {} for n in range(5)}
    files |= {"unknown/1.png": {}, "cat/flat.png": {"blank": True}, "cat/long.png": {"size": (400, 20)}}
    files |= {"cat/small.png": {"size": (20, 20)}}
    root = folder(files)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(root / "cat" / "3.png").save(root / "cat" / "3.png", exif=exif)
    Image.open(root / "cat" / "4.png").convert("LA").save(root / "cat" / "4.png")
    findings = found(make_module, root, resize="crop")
    assert {name: finding.number for name, finding in findings.items()} == {
        "Class names that are nearly the same": 1, "Classes that may not be any": 1, "Classes with a single image": 1,
        "Blank images": 1, "Cut images": 1, "Extreme shapes": 1, "Small images": 1, "Turned images": 1,
        "Transparent images": 1,
    }  # fmt: skip
    assert findings["Class names that are nearly the same"].text == "Cat_ (5) and cat (23)"
    assert findings["Classes that may not be any"].remedy == "if so, 'data.unlabelled=[unknown]'"
    assert findings["Extreme shapes"].remedy == "data.resize=pad keeps all of them"


def test_one_hot_pixel_in_a_dark_set_is_told_with_the_white_of_the_others(tmp_path, make_module):
    (tmp_path / "deep").mkdir()
    for number in range(40):
        coarse = Image.fromarray(np.random.default_rng(number).integers(60, 190, (6, 6), dtype=np.uint8))
        values = np.asarray(coarse.resize((48, 48), Image.Resampling.BICUBIC)).astype(np.uint16) * 16
        values[0, 0] = 65535 if number == 3 else values[0, 0]
        Image.fromarray(values).save(tmp_path / "deep" / f"{number}.png")
    finding = found(make_module, tmp_path / "deep")["Brighter than nearly all others"]
    assert (finding.number, finding.remedy, finding.decide) == (1, "data.white=4095, if the others are right", True)
    assert "Brighter than nearly all others" not in found(make_module, tmp_path / "deep", white=4095.0)


def test_files_that_are_not_read_are_told_and_decided_about_if_they_are_many(folder, make_module):
    root = folder({f"{n}.png": {} for n in range(40)})
    (root / "1.heic").touch()
    few = found(make_module, root)
    assert (few["Files that are not read"].number, few["Files that are not read"].decide) == (1, False)
    for number in range(5):
        (root / f"{number}.heic").touch()
    (root / "damaged.png").write_text("no image")
    many = found(make_module, root)
    assert (many["Files that are not read"].text, many["Files that are not read"].decide) == ("5 .heic.", True)
    assert many["Files that cannot be read"].text == "damaged.png (not an image of a known format)."


def test_a_folder_that_holds_everything_is_asked_about(folder, make_module):
    findings = found(make_module, folder({f"cruise 7/{n}.png": {} for n in range(20)}))
    assert [*findings] == ["A single class"]
    assert findings["A single class"].remedy == "if not, 'data.unlabelled=[cruise 7]'"


def test_mostly_white_images_are_told_where_they_are_rare():
    facts = np.array([[200, 0.01, 120]] * 20 + [[200, 0.8, 255]], np.float32)
    assert pixels.clipped(facts).tolist() == [20]
    facts[:15, 1] = 0.6  # of plankton, most of an image is white
    assert len(pixels.clipped(facts)) == 0


def test_arrays_of_many_channels_can_be_examined(tmp_path, make_module):
    (tmp_path / "arrays").mkdir()
    for number in range(30):
        np.save(
            tmp_path / "arrays" / f"{number}.npy",
            np.random.default_rng(number).integers(60, 190, (64, 64, 5), dtype=np.uint8),
        )
    assert found(make_module, tmp_path / "arrays", channels=5) == {}
