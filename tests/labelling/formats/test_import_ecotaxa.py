"""Exports of EcoTaxa, made here from their documented columns: what becomes a label, a guess, a file, or a message."""

import csv
import io
import logging
import shutil
import zipfile
from collections import namedtuple

import pytest
from PIL import Image

from fewlabels.core.errors import UserError
from fewlabels.data.splits.keys import group_names
from fewlabels.data.splits.labels import read_labels
from fewlabels.labelling.formats import ecotaxa
from fewlabels.labelling.formats.import_ecotaxa import GROUP, import_ecotaxa

COLUMNS = ("img_file_name", "img_rank", "object_id", "object_lat", "object_annotation_status",
           "object_annotation_category", "sample_id", "acq_id", "objid")  # fmt: skip
GENERAL = [
    ("s 1/a_1.jpg", 0, "a_1", 1.5, "validated", "part<Crustacea", "s 1", "q", 11),
    ("s 1/a_2.jpg", 0, "a_2", 1.5, "predicted", "Copepoda", "s 1", "q", 12),
    ("s 1/1/a_2.jpg", 1, "a_2", 1.5, "predicted", "Copepoda", "s 1", "q", 12),
    ("s 2/a_1.JPG", 0, "a/1", 1.5, "dubious", "Größe", "s 2", "q", 13),
    ("s 2/b.png", 0, "b", 1.5, "", "", "s 2", "q", 14),
]
LABELS = {
    "s 1/a_1_0.jpg": ("part<Crustacea", "", "validated"), "s 1/a_2_0.jpg": ("", "Copepoda", "predicted"),
    "s 1/a_2_1.jpg": ("", "Copepoda", "predicted"), "s 2/a%2F1_0.jpg": ("", "Größe", "dubious"),
    "s 2/b_0.png": ("", "", ""),
}  # fmt: skip


def table(rows, columns=COLUMNS, *, types=False, encoding="utf-8-sig", delimiter="\t"):
    """The bytes of a table as EcoTaxa writes it."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(columns)
    if types:
        writer.writerow(["[f]" if name == "object_lat" else "[t]" for name in columns])
    writer.writerows(rows)
    return text.getvalue().encode(encoding)


@pytest.fixture
def export(tmp_path):
    """A function that writes an archive of {name: bytes}; images are given by their names alone."""

    def write(files, images=(), name="export.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for file, content in files.items():
                archive.writestr(file, content)
            for image in images:
                archive.writestr(image, image.encode())
        return str(tmp_path / name)

    return write


def read(folder):
    """{path: (label, guess, status)} of labels.csv, and {path: content} of the images."""
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["path"]: (row["label"], row["guess"], row["status"]) for row in csv.DictReader(file)}
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "labels.csv"]
    return rows, {path.relative_to(folder).as_posix(): path.read_bytes().decode() for path in paths}


@pytest.mark.parametrize("variant", [{}, {"encoding": "latin-1"}, {"encoding": "utf-8"}, {"types": True},
                                     {"delimiter": ";"}])  # fmt: skip
def test_a_general_export(export, tmp_path, variant):
    images = [row[0] for row in GENERAL]
    file = export({"ecotaxa_export_1.tsv": table(GENERAL, **variant), "job_1.log": b"log"}, images)
    import_ecotaxa([file], str(tmp_path / "to"))
    rows, contents = read(tmp_path / "to")
    assert rows == LABELS
    assert contents == dict(zip(LABELS, images, strict=True))
    assert read_labels(str(tmp_path / "to" / "labels.csv")) == {"s 1/a_1_0.jpg": "part<Crustacea"}


def test_a_doi_export(export, tmp_path):
    names = ["images/part_Crustacea__7/11_0.jpg", "images/Copepoda__8/12_0.jpg", "images/Copepoda__8/12_1.jpg",
             "images/Gr__e__9/13_0.jpg", "images/NoCategory/14_0.png"]  # fmt: skip
    rows = [(name, *row[1:]) for name, row in zip(names, GENERAL, strict=True)]
    rows[-1] = (*rows[-1][:5], "NoCategory", *rows[-1][6:])
    import_ecotaxa([export({"ecotaxa_export_1.tsv": table(rows)}, names)], str(tmp_path / "to"))
    assert read(tmp_path / "to") == (LABELS, dict(zip(LABELS, names, strict=True)))


@pytest.mark.parametrize("unpacked", [False, True])
def test_a_backup_has_a_table_per_sample_and_images_beside_it(export, tmp_path, unpacked):
    columns = COLUMNS[:-1]
    rows = [(row[0].partition("/")[2], *row[1:-1]) for row in GENERAL]
    files = {f"s {n}/ecotaxa_s {n}.tsv": table([row for row in rows if row[6] == f"s {n}"], columns, types=True)
             for n in (1, 2)}  # fmt: skip
    file = export(files, [row[0] for row in GENERAL])
    if unpacked:
        shutil.unpack_archive(file, tmp_path / "unpacked")
        file = str(tmp_path / "unpacked")
    import_ecotaxa([file], str(tmp_path / "to"))
    assert read(tmp_path / "to") == (LABELS, dict(zip(LABELS, (row[0] for row in GENERAL), strict=True)))


def test_the_group_that_is_logged_joins_the_images_of_an_object(export, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        import_ecotaxa([export({"ecotaxa.tsv": table(GENERAL)}, [row[0] for row in GENERAL])], str(tmp_path / "to"))
    assert "5 images of 4 objects: 1 validated (label), 3 predicted or dubious (guess), 1 without" in caplog.text
    assert f"\"data.group='{GROUP}'\"" in caplog.text
    groups = group_names(list(LABELS), GROUP)
    assert groups == ["s 1/a_1", "s 1/a_2", "s 1/a_2", "s 2/a%2F1", "s 2/b"]


@pytest.mark.parametrize("divided", [False, True])
def test_archives_of_fewlabels_give_the_same_paths_again(tmp_path, monkeypatch, divided):
    root = tmp_path / "images"
    (root / "sub").mkdir(parents=True)
    for path in ("sub/a.png", "ü b.jpg", "deep.tif"):
        Image.new("L", (4, 4), 9).save(root / path)
    predictions = [
        ecotaxa.Prediction("sub/a.png", 'say "ø"', True, 1.0), ecotaxa.Prediction("ü b.jpg", "Copepoda", False, 0.5),
        ecotaxa.Prediction("deep.tif", None, False, 0.25),
    ]  # fmt: skip
    monkeypatch.setattr(ecotaxa, "MAX_BYTES", 1 if divided else 10**9)
    (root / "deep.tif").unlink()
    Image.new("RGBA", (4, 4)).save(root / "deep.tif")  # becomes PNG
    archives, _ = ecotaxa.write_ecotaxa(predictions, root, tmp_path)
    assert len(archives) == (3 if divided else 1)
    import_ecotaxa([str(archive) for archive in archives], str(tmp_path / "to"))
    with (tmp_path / "to" / "labels.csv").open(encoding="utf-8") as file:
        assert [tuple(row.values())[:4] for row in csv.DictReader(file)] == [
            ("sub/a.png", 'say "ø"', "", "validated"), ("ü b.jpg", "", "Copepoda", "predicted"),
            ("deep.tif", "", "", ""),
        ]  # fmt: skip
    assert (tmp_path / "to" / "sub" / "a.png").read_bytes() == (root / "sub" / "a.png").read_bytes()
    with Image.open(tmp_path / "to" / "deep.tif") as image:
        assert image.format == "PNG"


def test_labels_alone_are_enough_for_objects_that_fewlabels_named(export, tmp_path, caplog):
    rows = [("", 0, "sub/a.png", 0, "V", "Copepoda", "s", "q", 1), ("", 0, "b.jpg", 0, "p", "egg", "s", "q", 2)]
    import_ecotaxa([export({"ecotaxa.tsv": table([row[2:] for row in rows], COLUMNS[2:])})], str(tmp_path / "to"))
    assert read(tmp_path / "to") == (
        {"sub/a.png": ("Copepoda", "", "validated"), "b.jpg": ("", "egg", "predicted")}, {},
    )  # fmt: skip
    assert "The export has no images" in caplog.text


def test_missing_images_are_counted_and_left_out(export, tmp_path, caplog):
    import_ecotaxa([export({"ecotaxa.tsv": table(GENERAL)}, [GENERAL[0][0]])], str(tmp_path / "to"))
    assert list(read(tmp_path / "to")[0]) == ["s 1/a_1_0.jpg"]
    assert "4 of 5 images that the tables name are not in the export, such as s 1/a_2.jpg. They are left" in caplog.text


def test_an_older_backup_has_two_rows_for_one_file(export, tmp_path, caplog):
    rows = [GENERAL[0], (*GENERAL[0][:1], 1, *GENERAL[0][2:])]
    with caplog.at_level(logging.INFO):
        import_ecotaxa([export({"ecotaxa.tsv": table(rows)}, [GENERAL[0][0]])], str(tmp_path / "to"))
    assert list(read(tmp_path / "to")[0]) == ["s 1/a_1_0.jpg"]
    assert "1 rows name an image that another row names too" in caplog.text


def test_objects_of_one_name_and_images_of_one_rank_stay_apart(export, tmp_path):
    rows = [("1.jpg", 0, "a", 0, "V", "x", "s", "q", 1), ("2.jpg", 0, "a", 0, "V", "y", "s", "q", 2),
            ("3.jpg", 0, "a", 0, "V", "x", "s", "q", 1), ("4.jpg", "", "A", 0, "V", "x", "S", "q", 3)]  # fmt: skip
    import_ecotaxa([export({"ecotaxa.tsv": table(rows)}, [row[0] for row in rows])], str(tmp_path / "to"))
    labels, contents = read(tmp_path / "to")
    assert list(labels) == ["s/a_0.jpg", "s/%61_0.jpg", "s/a_1.jpg", "%53/A_0.jpg"]
    assert set(contents.values()) == {row[0] for row in rows}


@pytest.mark.parametrize(("files", "message"), [
    ({}, r"has no table ecotaxa_\*\.tsv \(found: nothing\)"),
    ({"inner.zip": b""}, r"zip files inside: unpack it, and give these: export=\[A\.zip,B\.zip\]"),
    ({"ecotaxa.tsv": b""}, "has no column object_id and object_annotation_category and object_annotation_status"),
    ({"ecotaxa.tsv": table([], COLUMNS[2:4])}, "has no column object_annotation_category and .* Is it a summary"),
    ({"ecotaxa.tsv": table([])}, "its tables have no rows"),
    ({"ecotaxa.tsv": table(GENERAL)}, r"has none of the images of its 5 rows, such as s 1/a_1\.jpg\. Export it again"),
    ({"ecotaxa.tsv": table([row[2:] for row in GENERAL], COLUMNS[2:])}, r"of its 5 rows\. Export it again, with"),
    ({"ecotaxa.tsv": table([(*GENERAL[0][:4], "sure", *GENERAL[0][5:])])}, "line 2: the status 'sure' is none of"),
    ({"ecotaxa.tsv": table([(*GENERAL[0][:2], "", *GENERAL[0][3:])])}, "line 2: the object has no object_id"),
    ({"ecotaxa.tsv": table([("../a.jpg", *GENERAL[0][1:])])}, r"the image '\.\./a\.jpg' is outside of the export"),
    ({"ecotaxa.tsv": table([("C:\\a.jpg", *GENERAL[0][1:])])}, "is outside of the export"),
    ({"ecotaxa.tsv": table(GENERAL) + b"a\tb\n"}, "line 7 has 2 values for 9 columns"),
    ({"ecotaxa.tsv": table(GENERAL) + b'"' + b"x" * 200_000}, "is no table"),
    ({"../ecotaxa.tsv": table(GENERAL)}, r"is unsafe, and nothing was read: '\.\./ecotaxa\.tsv' is outside"),
    ({"/ecotaxa.tsv": table(GENERAL)}, "is unsafe, and nothing was read"),
])  # fmt: skip
def test_what_is_no_export_is_refused(export, tmp_path, files, message):
    with pytest.raises(UserError, match=message):
        import_ecotaxa([export(files)], str(tmp_path / "to"))
    assert [path.name for path in tmp_path.iterdir()] == ["export.zip"]


def test_what_is_no_zip_file_or_a_damaged_one_is_refused(export, tmp_path):
    file = export({"ecotaxa.tsv": table(GENERAL)}, [row[0] for row in GENERAL])
    with pytest.raises(UserError, match=r"none\.zip cannot be read \(No such file"):
        import_ecotaxa([str(tmp_path / "none.zip")], str(tmp_path / "to"))
    content = (tmp_path / "export.zip").read_bytes()
    (tmp_path / "export.zip").write_bytes(content.replace(b"s 2/b.png" * 2, b"s 2/b.pngs 2/b!png"))
    with pytest.raises(UserError, match=r"export\.zip: s 2/b\.png is damaged"):
        import_ecotaxa([file], str(tmp_path / "to"))
    (tmp_path / "export.zip").write_bytes(content[:-40])
    with pytest.raises(UserError, match="it is no complete zip file"):
        import_ecotaxa([file], str(tmp_path / "to"))
    assert [path.name for path in tmp_path.iterdir()] == ["export.zip"]


def test_a_folder_in_use_is_left_alone_and_a_full_disk_is_foreseen(export, tmp_path, monkeypatch):
    file = export({"ecotaxa.tsv": table(GENERAL)}, [row[0] for row in GENERAL])
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine").touch()
    for to in ("used", "used/mine"):
        with pytest.raises(UserError, match="Give a new or empty folder"):
            import_ecotaxa([file], str(tmp_path / to))
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10))
    with pytest.raises(UserError, match=r"the images need \d+ bytes, and 10 are free"):
        import_ecotaxa([file], str(tmp_path / "new"))
    assert {path.name for path in tmp_path.rglob("*")} == {"export.zip", "used", "mine"}


@pytest.mark.subprocess
def test_an_import_is_labels_for_the_other_scripts(script, export, tmp_path):
    images = {f"{n}.png": io.BytesIO() for n in range(24)}
    for number, (name, content) in enumerate(images.items()):
        Image.effect_noise((16, 16), 10 + number).point(lambda v, n=number: v // 2 + 120 * (n % 2)).save(content, "png")
        images[name] = content.getvalue()
    rows = [(f"{n}.png", n % 4 // 2, f"o{n // 4}_{n % 2}", 0, "V" if n < 12 else "P", ("dark", "bright")[n % 2], "s",
             "q", n // 4 * 2 + n % 2) for n in range(24)]  # fmt: skip
    file = export({"ecotaxa_x.tsv": table(rows), **images})
    done = script("import_ecotaxa", f"export={file}", f"to={tmp_path / 'to'}")
    assert "24 images of 12 objects: 12 validated (label), 12 predicted" in done.stdout
    setting = done.stdout.partition("\"data.group='")[2].partition("'\"")[0]
    done = script("predict", "run=random", "data.size=32", f"data.root={tmp_path / 'to'}",
                  f"data.labels={tmp_path / 'to' / 'labels.csv'}", f"data.group='{setting}'")  # fmt: skip
    assert "predictions.csv" in done.stdout
    refused = script("import_ecotaxa", f"export={file}", code=1)
    assert "Give export=FILE.zip" in refused.stderr
    assert "Traceback" not in refused.stderr
