"""Archives for EcoTaxa: byte-level facts of the table, and which images are converted."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from fewlabels.core.errors import UserError
from fewlabels.labelling.formats import ecotaxa
from fewlabels.labelling.formats.ecotaxa import Prediction, table, write_ecotaxa


@pytest.fixture
def root(tmp_path):
    """JPEG and PNG of 8 bits, a 16-bit TIFF, and a transparent PNG."""
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    Image.new("L", (9, 5), 100).save(folder / "sub" / "grey.jpg")
    Image.new("RGB", (9, 5), "red").save(folder / "ü,colour.png")
    Image.fromarray(np.full((4, 4), 65535, np.uint16)).save(folder / "deep.tif")
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(folder / "clear.png")
    return folder


PREDICTIONS = [
    Prediction("sub/grey.jpg", "Copepoda", True, 1.0), Prediction("ü,colour.png", 'say "ø"', False, 0.87654),
    Prediction("deep.tif", "a\tb", False, 0.5), Prediction("clear.png", "Copepoda", False, 0.25),
]  # fmt: skip


def test_the_table_is_what_ecotaxa_reads(root, tmp_path):
    (archive,), shrunk = write_ecotaxa(PREDICTIONS, root, tmp_path)
    assert (archive.name, shrunk) == ("ecotaxa_1.zip", [])
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        content = opened.read("ecotaxa_fewlabels.tsv")
        assert set(opened.namelist()) == {
            "ecotaxa_fewlabels.tsv", "sub/grey.jpg", "ü,colour.png", "deep.tif.png", "clear.png.png",
        }  # fmt: skip
    assert content.startswith(b"\xef\xbb\xbfimg_file_name\tobject_id\tobject_annotation_category\t")
    lines = content.decode("utf-8-sig").split("\n")
    assert lines[1] == "[t]\t[t]\t[t]\t[t]\t[f]"
    assert lines[2] == "sub/grey.jpg\tsub/grey.jpg\tCopepoda\tvalidated\t1.0000"
    assert lines[3] == 'ü,colour.png\tü,colour.png\t"say ""ø"""\tpredicted\t0.8765'
    assert lines[4] == "deep.tif.png\tdeep.tif\ta b\tpredicted\t0.5000"
    assert lines[6:] == [""]


def test_images_of_8_bits_are_copied_and_others_become_png(root, tmp_path):
    (archive,), _ = write_ecotaxa(PREDICTIONS, root, tmp_path)
    with zipfile.ZipFile(archive) as opened:
        for name in ("sub/grey.jpg", "ü,colour.png"):
            assert opened.read(name) == (root / name).read_bytes()
        for name, mode in (("deep.tif.png", "L"), ("clear.png.png", "RGB")):
            image = Image.open(io.BytesIO(opened.read(name)))
            assert (image.format, image.mode) == ("PNG", mode)
            assert (np.asarray(image) == 255).all()


def test_archives_are_divided_by_what_is_written(root, tmp_path, monkeypatch):
    images = [f"{number}.png" for number in range(8)]
    draw = np.random.default_rng(0)
    for name in images:  # which the conversion from 16 to 8 bits makes smaller
        Image.fromarray(draw.integers(0, 65535, (40, 40), dtype=np.uint16)).save(root / name)
    monkeypatch.setattr(ecotaxa, "MAX_BYTES", 8000)
    archives, _ = write_ecotaxa([Prediction(name, "Copepoda", False, 0.5) for name in images], root, tmp_path)
    assert [archive.name for archive in archives] == [f"ecotaxa_{number}.zip" for number in range(1, len(archives) + 1)]
    sizes = [archive.stat().st_size for archive in archives]
    assert max(sizes) <= 8000
    assert min(sizes[:-1]) > 8000 - 2 * sizes[0] / 4  # as many as fit
    assert len(archives) < sum((root / name).stat().st_size for name in images) / 8000
    rows = []
    for archive in archives:
        with zipfile.ZipFile(archive) as opened:
            rows += opened.read("ecotaxa_fewlabels.tsv").decode("utf-8-sig").split("\n")[2:-1]
    assert [row.split("\t")[1] for row in rows] == images
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_image_larger_than_an_archive_has_one_of_its_own(root, tmp_path, monkeypatch):
    monkeypatch.setattr(ecotaxa, "MAX_BYTES", 1)
    assert len(write_ecotaxa(PREDICTIONS, root, tmp_path)[0]) == len(PREDICTIONS)


def test_large_images_are_shrunk(root, tmp_path, monkeypatch):
    monkeypatch.setattr(ecotaxa, "MAX_SIDE", 6)
    (archive,), shrunk = write_ecotaxa(PREDICTIONS, root, tmp_path)
    assert shrunk == ["sub/grey.jpg", "ü,colour.png"]
    with zipfile.ZipFile(archive) as opened:
        sizes = [Image.open(io.BytesIO(opened.read(n))).size for n in opened.namelist() if not n.endswith("tsv")]
    assert max(max(size) for size in sizes) == 6


def test_if_a_later_archive_fails_none_is_left(root, tmp_path, monkeypatch):
    monkeypatch.setattr(ecotaxa, "MAX_BYTES", 1)
    (root / "clear.png").unlink()
    with pytest.raises(UserError, match=r"clear\.png cannot be read any more .*leave out formats=\[ecotaxa\]"):
        write_ecotaxa(PREDICTIONS, root, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_an_image_without_a_class_has_no_status_either(root, tmp_path):
    (archive,), _ = write_ecotaxa([PREDICTIONS[0]._replace(category=None, validated=False)], root, tmp_path)
    with zipfile.ZipFile(archive) as opened:
        assert b"\nsub/grey.jpg\tsub/grey.jpg\t\t\t1.0000\n" in opened.read("ecotaxa_fewlabels.tsv")


def test_names_in_an_archive_are_unique_and_utf_8(root, tmp_path):
    for name in ("deep.tif.png", "a\udcff.png"):
        Image.new("L", (4, 4)).save(root / "new.png")
        (root / "new.png").rename(root / name)
    paths = ["deep.tif", "deep.tif.png", "a\udcff.png"]
    (archive,), _ = write_ecotaxa([Prediction(path, "a", False, 0.5) for path in paths], root, tmp_path)
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist()[:3] == ["deep.tif.png", "deep.tif_.png", "a%FF.png"]
        assert "deep.tif_.png\tdeep.tif.png" in opened.read("ecotaxa_fewlabels.tsv").decode("utf-8-sig")


def test_rows_have_a_value_for_every_column():
    lines = table([["a"] * len(ecotaxa.COLUMNS)]).decode("utf-8-sig").splitlines()
    assert [len(line.split("\t")) for line in lines] == [len(ecotaxa.COLUMNS)] * 3
