"""A store that copies the rows of unchanged files from an earlier one is that of a full build, bit by bit."""

import json
import logging
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fewlabels.data.image_store import decode, store
from fewlabels.data.image_store.decode import Decoding
from fewlabels.data.image_store.folder import folder_source
from fewlabels.data.image_store.store import open_store

NAMES = [f"{label}/{number}.{extension}" for label in "ab" for number in range(30) for extension in ("png", "tif")]
KINDS = ["grey", "colour", "12 bits", "16 bits", "pages", "real", "broken"]


def write(root, name, kind, seed):
    """An image of 6 pixels; TIFF has several pages on request, other kinds one."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    values = pixels[..., 0].astype(np.uint16) * (257 if kind == "16 bits" else 16)
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    if kind == "broken":
        file.write_text(f"no image {seed}")
    elif kind in ("12 bits", "16 bits"):
        Image.fromarray(values).save(file)
    elif kind == "real" and name.endswith("tif"):
        Image.fromarray(pixels[..., 0].astype(np.float32) / 255).save(file)
    elif kind == "pages" and name.endswith("tif"):
        Image.fromarray(pixels).save(file, save_all=True, append_images=[Image.fromarray(values)])
    else:
        Image.fromarray(pixels if kind == "colour" else pixels[..., 0]).save(file)


def source_of(root, **options):
    return folder_source(root, "some", Decoding("pad", **options), size=6, channels=3)


def same(one, other):
    assert one.paths == other.paths
    assert one.key == other.key
    assert one.images.tobytes() == other.images.tobytes()
    assert one.facts.tobytes() == other.facts.tobytes()
    assert (one.digests == other.digests).all()
    assert (one.corrupt, one.notices, one.white) == (other.corrupt, other.notices, other.white)


change = st.tuples(
    st.sampled_from(["write", "remove", "touch", "rename"]), st.sampled_from(NAMES), st.sampled_from(KINDS),
    st.integers(0, 5),
)  # fmt: skip


@settings(max_examples=60, deadline=None, database=None)
@given(st.lists(st.lists(change, max_size=12), min_size=1, max_size=4), st.sampled_from(["first", "all"]),
       st.sampled_from([None, 4095.0]))  # fmt: skip
def test_it_is_bit_identical_to_a_full_build_after_any_changes(steps, pages, white):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        patch.setattr(store, "MAX_CORRUPT", 1)
        root = Path(name) / "images"
        for number in range(12):
            write(root, f"c/{number}.png", "grey", number)
        for number, step in enumerate([[], *steps]):
            for place, (action, path, kind, seed) in enumerate(step):
                file = root / path
                if action == "write":
                    write(root, path, kind, seed)
                elif file.exists() and action == "remove":
                    file.unlink()
                elif file.exists() and action == "touch":
                    os.utime(file, ns=(0, 100 * number + place))  # never an earlier file's time
                elif file.exists():
                    (root / f"{path[:-4]}-{seed}{path[-4:]}").unlink(missing_ok=True)
                    file.rename(root / f"{path[:-4]}-{seed}{path[-4:]}")
            source = source_of(root, pages=pages, white=white)
            same(open_store(source, f"{name}/cache"), open_store(source, f"{name}/full{number}"))


@pytest.fixture
def decoded(monkeypatch):
    """The paths of the files that are decoded from now on."""
    paths, decode_rows = [], decode.decode_rows

    def note(root, files, *others):
        paths.extend(files)
        return decode_rows(root, files, *others)

    monkeypatch.setattr(decode, "decode_rows", note)
    return paths


@pytest.fixture
def root(tmp_path):
    for number in range(40):
        write(tmp_path / "images", f"a/{number:02d}.png", "grey", number)
    return tmp_path / "images"


def test_only_new_and_changed_files_are_decoded_and_said(root, tmp_path, decoded, caplog):
    caplog.set_level(logging.INFO)
    first = open_store(source_of(root), tmp_path / "cache")
    assert len(decoded) == 40
    decoded.clear()
    write(root, "a/07b.png", "colour", 99)
    os.utime(root / "a" / "20.png", ns=(1, 1))
    (root / "a" / "30.png").unlink()
    second = open_store(source_of(root), tmp_path / "cache")
    assert decoded == ["a/07b.png", "a/20.png"]
    assert "Prepared 40 images in" in caplog.text
    assert "Prepared 40 images (2 new) in" in caplog.text
    assert len(first.images) == 40  # the earlier store is as it was
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2
    assert second.paths[8] == "a/07b.png"


def test_a_new_white_decodes_all_images_of_more_than_8_bits_again_and_no_others(root, tmp_path, decoded):
    for number in range(5):
        write(root, f"b/{number}.png", "12 bits", number)
    assert open_store(source_of(root), tmp_path / "cache").white == 4095
    decoded.clear()
    write(root, "b/9.png", "16 bits", 9)
    second = open_store(source_of(root), tmp_path / "cache")
    assert second.white == 65535
    assert decoded == ["b/9.png", *(f"b/{number}.png" for number in range(5))]
    same(second, open_store(source_of(root), tmp_path / "full"))


def test_a_file_that_could_not_be_read_is_tried_again(root, tmp_path, decoded):
    (root / "a" / "broken.png").write_text("no image")
    open_store(source_of(root), tmp_path / "cache")
    decoded.clear()
    write(root, "a/new.png", "grey", 3)
    assert list(open_store(source_of(root), tmp_path / "cache").corrupt) == ["a/broken.png"]
    assert decoded == ["a/broken.png", "a/new.png"]


@pytest.mark.parametrize("other", ["size", "decoding", "root", "name", "damaged", "facts"])
def test_rows_of_another_kind_of_store_are_not_copied(root, tmp_path, decoded, other):
    first = open_store(source_of(root), tmp_path / "cache")
    decoded.clear()
    options = {"size": 6, "channels": 3, "name": "some", "decoding": Decoding("pad"), "root": root}
    if other == "root":
        options["root"] = root.rename(tmp_path / "moved")
        write(options["root"], "a/new.png", "grey", 50)
    else:
        write(root, "a/new.png", "grey", 50)
        options |= {"size": {"size": 7}, "decoding": {"decoding": Decoding("crop")}, "name": {"name": "x"}}.get(
            other, {}
        )
    file = Path(first.images.filename)
    if other == "damaged":
        file.write_bytes(file.read_bytes()[:200])
    if other == "facts":
        file.with_suffix(".facts").unlink()
    source = folder_source(
        options["root"], options["name"], options["decoding"], size=options["size"], channels=options["channels"]
    )
    open_store(source, tmp_path / "cache")
    assert len(decoded) == 41


def test_a_moved_folder_still_has_its_store(root, tmp_path, decoded):
    open_store(source_of(root), tmp_path / "cache")
    decoded.clear()
    open_store(source_of(root.rename(tmp_path / "moved")), tmp_path / "cache")
    assert decoded == []


def test_the_metadata_name_the_absolute_folder(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    open_store(source_of("images"), tmp_path / "cache")
    assert json.loads(next((tmp_path / "cache").glob("*.json")).read_text())["root"] == str(root)
