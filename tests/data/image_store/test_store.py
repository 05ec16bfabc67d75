"""The store: built once, atomically, by one of several processes, and shared."""

import errno
import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fewlabels.core.errors import UserError
from fewlabels.data.image_store import decode, parallel, store
from fewlabels.data.image_store.decode import Decoding, Target
from fewlabels.data.image_store.folder import folder_source
from fewlabels.data.image_store.store import open_store

QUICK = settings(max_examples=25, deadline=None, database=None)
BUILD = """
import logging, sys
from fewlabels.data.image_store.decode import Decoding
from fewlabels.data.image_store.folder import folder_source
from fewlabels.data.image_store.store import open_store
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
source = folder_source(sys.argv[1], "some", Decoding("pad"), size=32, channels=3)
print("sum", open_store(source, sys.argv[2]).images.sum())
assert "torch" not in sys.modules, "torch must not be imported for decoding"
"""


def source_of(root, size=8, resize="pad", channels=1):
    return folder_source(root, "some", Decoding(resize), size=size, channels=channels)


@pytest.fixture
def root(tree):
    return tree({f"{label}/{number}.png": 10 * number for label in "ab" for number in range(10)})


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def suffixes(cache):
    return sorted(path.suffix for path in cache.iterdir())


def test_images_are_stored_in_the_order_of_the_paths(root, cache):
    opened = open_store(source_of(root), cache)
    assert opened.paths == [f"{label}/{number}.png" for label in "ab" for number in range(10)]
    assert opened.images.shape == (20, 1, 8, 8)
    assert opened.images.dtype == np.uint8
    assert opened.images[:, 0, 0, 0].tolist() == [10 * number for number in range(10)] * 2
    assert suffixes(cache) == [".facts", ".json", ".lock", ".npy"]


def test_an_existing_store_is_not_rebuilt(root, cache, monkeypatch):
    first = open_store(source_of(root), cache)
    monkeypatch.setattr(store, "_build", lambda *_: pytest.fail("rebuilt"))
    again = open_store(source_of(root), cache)
    assert again.paths == first.paths


def test_images_are_mapped_read_only_and_shared(root, cache):
    images = open_store(source_of(root), cache).images
    assert isinstance(images, np.memmap)
    assert not images.flags.writeable
    maps = Path("/proc/self/maps")
    if maps.exists():
        permissions = [line.split()[1] for line in maps.read_text().splitlines() if line.endswith(str(images.filename))]
        assert permissions == ["r--s"]


@pytest.mark.parametrize("change", ["added", "removed", "touched", "size", "resize", "channels"])
def test_any_change_of_files_or_settings_makes_a_new_store(root, cache, change):
    open_store(source_of(root), cache)
    options = {"size": {"size": 9}, "resize": {"resize": "crop"}, "channels": {"channels": 3}}.get(change, {})
    if change == "added":
        (root / "a" / "new.png").write_bytes((root / "a" / "0.png").read_bytes())
    if change == "removed":
        (root / "a" / "0.png").unlink()
    if change == "touched":
        os.utime(root / "a" / "0.png", ns=(1, 1))
    open_store(source_of(root, **options), cache)
    assert len(list(cache.glob("*.npy"))) == 2


def test_a_damaged_store_is_rebuilt_with_a_warning(root, cache, caplog):
    file = Path(open_store(source_of(root), cache).images.filename)
    file.write_bytes(file.read_bytes()[:200])
    opened = open_store(source_of(root), cache)
    assert "damaged" in caplog.text
    assert opened.images[-1, 0, 0, 0] == 90


def test_up_to_five_percent_corrupt_files_are_excluded(root, cache):
    (root / "a" / "4.png").write_text("no image")
    opened = open_store(source_of(root), cache)
    assert list(opened.corrupt) == ["a/4.png"]
    assert len(opened.images) == len(opened.paths) == 19
    assert opened.images[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 50, 60, 70, 80, 90, *range(0, 100, 10)]
    metadata = json.loads(next(cache.glob("*.json")).read_text())
    assert metadata["corrupt"] == {"a/4.png": "not an image of a known format"}


def test_more_corrupt_files_are_an_error_with_an_example(root, cache):
    for name in ("3", "4"):
        (root / "a" / f"{name}.png").write_text("no image")
    with pytest.raises(UserError, match=r"2 of 20 images cannot be read.*a/3\.png \(not an image"):
        open_store(source_of(root), cache)
    assert suffixes(cache) == [".lock"]


def test_a_full_disk_is_detected_before_decoding(root, cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(decode, "decode_rows", lambda *_: pytest.fail("decoded"))
    with pytest.raises(UserError, match=r"(?s)full.*data\.cache_dir.*FEWLABELS_CACHE"):
        open_store(source_of(root), cache)
    assert suffixes(cache) == [".lock"]


def test_too_little_space_is_detected_before_decoding(root, cache, monkeypatch):
    monkeypatch.setattr(decode.shutil, "disk_usage", lambda _: SimpleNamespace(free=9))
    with pytest.raises(UserError, match="full"):
        open_store(source_of(root), cache)
    assert suffixes(cache) == [".lock"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.subprocess)])
def test_a_disk_that_fills_up_while_decoding_is_an_error(class_folders, cache, monkeypatch, workers):
    root = class_folders({"a": 600})
    monkeypatch.setattr(parallel, "processors", lambda: workers)
    monkeypatch.setattr(store, "allocate", lambda *_: Target("/dev/full", 128, (1, 8, 8)))
    with pytest.raises(UserError, match="full"):
        open_store(source_of(root), cache)
    assert suffixes(cache) == [".lock"]


def test_a_cache_that_cannot_be_written_is_an_error(root, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("a file, not a folder")
    with pytest.raises(UserError, match=r"data\.cache_dir=FOLDER"):
        open_store(source_of(root), tmp_path / "file" / "cache")
    monkeypatch.setenv("FEWLABELS_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="FEWLABELS_CACHE"):
        open_store(source_of(root))


def test_the_cache_can_be_set_by_an_environment_variable(root, tmp_path, monkeypatch):
    monkeypatch.setenv("FEWLABELS_CACHE", str(tmp_path / "there"))
    open_store(source_of(root))
    assert list((tmp_path / "there").glob("some-*.npy"))


def test_files_of_killed_processes_are_removed(root, cache):
    file = Path(open_store(source_of(root), cache).images.filename)
    file.unlink()
    (cache / f"{file.name}.99999.tmp").write_bytes(b"incomplete")
    (cache / f"{file.stem}.json.99999.tmp").write_bytes(b"incomplete")
    open_store(source_of(root), cache)
    assert suffixes(cache) == [".facts", ".json", ".lock", ".npy"]


def test_an_interrupt_leaves_no_incomplete_file(root, cache, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(decode, "decode_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_store(source_of(root), cache)
    assert suffixes(cache) == [".lock"]


def test_the_metadata_are_written_before_the_array_gets_its_name(root, cache, monkeypatch):
    order = []
    replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda self, target: (order.append(Path(target).suffix), replace(self, target))
    )
    open_store(source_of(root), cache)
    assert order == [".facts", ".json", ".npy"]  # readers need both and take no lock


@pytest.mark.subprocess
def test_two_processes_build_the_store_once(tree, cache):
    root = tree({f"c/{number:04d}.png": number % 256 for number in range(1200)}, side=32)
    command = [sys.executable, "-c", BUILD, str(root), str(cache)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    expected = sum(number % 256 for number in range(1200)) * 3 * 32 * 32
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert all(f"sum {expected}" in text for text in outputs)
    assert "".join(outputs).count("Prepared 1200 images") == 1
    assert suffixes(cache) == [".facts", ".json", ".lock", ".npy"]


def test_one_line_is_logged_if_there_is_no_terminal(root, cache, caplog, capfd):
    caplog.set_level(logging.INFO)
    open_store(source_of(root), cache)
    assert sum("Preparing 20 images of some" in record.message for record in caplog.records) == 1
    assert capfd.readouterr() == ("", "")


@QUICK
@given(st.integers(1, 10), st.sampled_from([1, 3]), st.integers(1, 8), st.integers(0, 2**32))
def test_images_of_the_target_size_are_stored_unchanged(size, channels, count, seed):
    images = np.random.default_rng(seed).integers(0, 256, (count, size, size, channels), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "images").mkdir()
        for number, pixels in enumerate(images):
            Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels).save(f"{name}/images/{number}.png")
        opened = open_store(source_of(f"{name}/images", size, channels=channels), f"{name}/cache")
        assert opened.paths == [f"{number}.png" for number in range(count)]
        assert (opened.images == images.transpose(0, 3, 1, 2)).all()
