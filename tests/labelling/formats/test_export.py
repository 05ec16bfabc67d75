"""Predictions in the formats of other programs: folders of links, FiftyOne, Embedding Atlas, and who refuses what."""

import json
import logging
import math
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fewlabels.core.errors import UserError
from fewlabels.labelling.formats.ecotaxa import Prediction
from fewlabels.labelling.formats.embedding_atlas import write_embedding_atlas
from fewlabels.labelling.formats.export import check_formats, export
from fewlabels.labelling.formats.fiftyone import write_fiftyone
from fewlabels.labelling.formats.folders import write_folders

PREDICTIONS = [
    Prediction("a/1.png", "Copepoda", True, 1.0), Prediction("b/1.png", "Copepoda", False, 0.75),
    Prediction("b/2.png", "egg/other", False, 0.5), Prediction("b/2.jpg", "egg/other", False, 0.25),
    Prediction("3.png", "copepoda", False, 0.5),
]  # fmt: skip


@pytest.fixture
def root(tmp_path):
    """The images of `PREDICTIONS`."""
    folder = tmp_path / "images"
    for path, *_ in PREDICTIONS:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(folder / path)
    return folder


def test_folders_have_a_link_to_every_image_of_a_class(root, tmp_path):
    copies, renamed = write_folders(PREDICTIONS, root, tmp_path / "classes")
    links = {path.relative_to(tmp_path / "classes").as_posix(): path for path in (tmp_path / "classes").glob("*/*")}
    assert set(links) == {"Copepoda/a%2F1.png", "Copepoda/b%2F1.png", "egg%2Fother/2.png", "egg%2Fother/2.jpg",
                          "%63opepoda/3.png"}  # fmt: skip
    assert links["Copepoda/b%2F1.png"].readlink() == root.resolve() / "b" / "1.png"
    assert all(path.is_symlink() and path.is_file() for path in links.values())
    assert {unquote(name.partition("/")[0]) for name in links} == {prediction.category for prediction in PREDICTIONS}
    assert (copies, renamed) == (0, ["a/1.png", "b/1.png", "egg/other", "copepoda"])


def test_a_missing_image_leaves_no_folder(root, tmp_path):
    (root / "3.png").unlink()
    for write in (write_folders, write_fiftyone):
        with pytest.raises(UserError, match=r"3\.png cannot be read any more"):
            write(PREDICTIONS, root, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_fiftyone_finds_the_image_of_every_label(root, tmp_path):
    assert write_fiftyone(PREDICTIONS, root, tmp_path / "fiftyone") == 0
    content = json.loads((tmp_path / "fiftyone" / "labels.json").read_text())
    assert content["classes"] == ["Copepoda", "copepoda", "egg/other"]
    data = tmp_path / "fiftyone" / "data"
    images = {str(path.relative_to(data).with_suffix("")): path for path in data.rglob("*.*")}  # as FiftyOne maps them
    assert len(images) == len(PREDICTIONS)
    labels = content["labels"]
    assert {images[uuid].resolve().relative_to(root).as_posix(): (content["classes"][label["label"]],
            label.get("confidence")) for uuid, label in labels.items()} == {
                path: (name, None if given else score) for path, name, given, score in PREDICTIONS}  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 4, 30])
def test_embedding_atlas_has_a_map_and_the_nearest_images(tmp_path, count):
    points = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    table = pd.DataFrame({
        "path": ["a\udcff.png", *(f"{n}.png" for n in range(1, count))], "class": "Copepoda", "probability": 0.5,
        "second_class": "egg", "from": "guess",
    }, dtype=object)  # fmt: skip
    write_embedding_atlas(table, points, tmp_path / "atlas.parquet")
    read = pd.read_parquet(tmp_path / "atlas.parquet")
    assert list(read) == ["path", "class", "probability", "from", "x", "y", "neighbors"]
    assert read["path"][0] == "a%FF.png"
    assert np.isfinite(read[["x", "y"]].to_numpy()).all()
    for row, neighbours in enumerate(read["neighbors"]):
        distances = [math.dist(points[row], point) for point in points]
        nearest = sorted(set(range(count)) - {row}, key=distances.__getitem__)[:15]
        assert list(neighbours["ids"]) == nearest
        assert list(neighbours["distances"]) == pytest.approx([distances[near] for near in nearest], abs=1e-5)


def test_synthetic_images_have_a_map_alone():
    data = SimpleNamespace(name="plankton", folder=None)
    check_formats(["embedding_atlas"], data)
    with pytest.raises(UserError, match=r"formats=\[folders\] needs image files, and data=plankton has none"):
        check_formats(["embedding_atlas", "folders"], data)


def test_a_guess_that_is_no_class_of_the_labels_has_no_category_in_ecotaxa(root, tmp_path, caplog):
    table = pd.DataFrame({"path": ["a/1.png", "b/1.png", "3.png"], "class": ["unknown", "Copepoda", "unknown"],
                          "probability": [np.nan, 0.9, np.nan], "from": "guess"}, dtype=object)  # fmt: skip
    images = SimpleNamespace(data=SimpleNamespace(name="images", folder=root, white=None), points=None)
    with caplog.at_level(logging.INFO):
        export(["ecotaxa", "folders", "fiftyone", "ecotaxa"], table, images, ["Copepoda", "egg"], tmp_path)
    text = pd.read_csv(_table(tmp_path / "ecotaxa_1.zip"), sep="\t", skiprows=[1], keep_default_na=False)
    assert list(text["object_annotation_category"]) == ["", "Copepoda", ""]
    assert list(text["object_annotation_status"]) == ["", "predicted", ""]
    assert list(text["object_fewlabels_score"]) == ["", "0.9000", ""]
    labels = json.loads((tmp_path / "fiftyone" / "labels.json").read_text())["labels"]
    assert sorted(label.get("confidence", "none") for label in labels.values() if label["label"] == 1) == ["none"] * 2
    assert {path.name for path in (tmp_path / "classes").iterdir()} == {"Copepoda", "unknown"}
    assert "A folder of links to the images per class" in caplog.text


def test_a_class_whose_name_is_too_long_for_a_folder_is_refused_before_anything_is_written(root, tmp_path):
    table = pd.DataFrame(
        {"path": ["a/1.png"], "class": ["x" * 300], "probability": [0.9], "from": "guess"}, dtype=object
    )
    images = SimpleNamespace(data=SimpleNamespace(name="images", folder=root, white=None), points=None)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"needs 1 to 255 bytes\. Rename the class"):
        export(["ecotaxa", "folders"], table, images, ["x" * 300, "egg"], tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def _table(archive):
    import io
    import zipfile

    with zipfile.ZipFile(archive) as opened:
        return io.BytesIO(opened.read("ecotaxa_fewlabels.tsv"))
