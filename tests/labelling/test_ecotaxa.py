"""Archives for EcoTaxa: byte-level facts of the table, and which images are converted."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from fewlabels.core.errors import UserError
from fewlabels.labelling import ecotaxa
from fewlabels.labelling.ecotaxa import Prediction, table, write_ecotaxa


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


def test_large_archives_are_divided_and_large_images_shrunk(root, tmp_path, monkeypatch):
    monkeypatch.setattr(ecotaxa, "MAX_BYTES", (root / "sub" / "grey.jpg").stat().st_size)
    monkeypatch.setattr(ecotaxa, "MAX_SIDE", 6)
    archives, shrunk = write_ecotaxa(PREDICTIONS, root, tmp_path)
    assert [archive.name for archive in archives] == [f"ecotaxa_{number}.zip" for number in range(1, len(archives) + 1)]
    assert len(archives) > 1
    assert shrunk == ["sub/grey.jpg", "ü,colour.png"]
    tables = []
    for archive in archives:
        with zipfile.ZipFile(archive) as opened:
            tables += opened.read("ecotaxa_fewlabels.tsv").decode("utf-8-sig").split("\n")[2:-1]
            sizes = [Image.open(io.BytesIO(opened.read(n))).size for n in opened.namelist() if not n.endswith("tsv")]
            assert max(max(size) for size in sizes) <= 6
    assert len(tables) == len(PREDICTIONS)


def test_a_missing_image_is_named_and_no_archive_is_left(root, tmp_path):
    (root / "deep.tif").unlink()
    with pytest.raises(UserError, match=r"deep\.tif cannot be read any more"):
        write_ecotaxa(PREDICTIONS, root, tmp_path)
    assert not [*tmp_path.glob("ecotaxa*")]


def test_rows_have_a_value_for_every_column():
    lines = table([["a"] * len(ecotaxa.COLUMNS)]).decode("utf-8-sig").splitlines()
    assert [len(line.split("\t")) for line in lines] == [len(ecotaxa.COLUMNS)] * 3
