"""The store: built once, whole or not at all, by one of many, and shared."""

import errno
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fewlabels.data import folder, store
from fewlabels.data.decode import Target
from fewlabels.data.folder import folder_source
from fewlabels.data.store import open_store
from fewlabels.errors import UserError

BUILD = """
import logging, sys
from fewlabels.data.folder import folder_source
from fewlabels.data.store import open_store
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
source = folder_source(sys.argv[1], "some", resize="pad", size=32, channels=3)
print("sum", open_store(source, sys.argv[2]).images.sum())
assert "torch" not in sys.modules, "the decoding side must stay light"
"""


def source_of(root, size=8, resize="pad", channels=1):
    return folder_source(root, "some", resize=resize, size=size, channels=channels)


@pytest.fixture
def root(tree):
    return tree({f"{label}/{number}.png": 10 * number for label in "ab" for number in range(10)})


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def left(cache):
    return sorted(path.suffix for path in cache.iterdir())


def test_holds_every_image_in_the_order_of_the_paths(root, cache):
    opened = open_store(source_of(root), cache)
    assert opened.paths == [f"{label}/{number}.png" for label in "ab" for number in range(10)]
    assert opened.images.shape == (20, 1, 8, 8)
    assert opened.images.dtype == np.uint8
    assert opened.images[:, 0, 0, 0].tolist() == [10 * number for number in range(10)] * 2
    assert left(cache) == [".json", ".lock", ".npy"]


def test_is_read_and_not_built_the_second_time(root, cache, monkeypatch):
    first = open_store(source_of(root), cache)
    monkeypatch.setattr(store, "_build", lambda *_: pytest.fail("built again"))
    again = open_store(source_of(root), cache)
    assert again.paths == first.paths


def test_is_mapped_read_only_and_shared(root, cache):
    images = open_store(source_of(root), cache).images
    assert isinstance(images, np.memmap)
    assert not images.flags.writeable
    maps = Path("/proc/self/maps")
    if maps.exists():
        permissions = [line.split()[1] for line in maps.read_text().splitlines() if line.endswith(str(images.filename))]
        assert permissions == ["r--s"]


@pytest.mark.parametrize("change", ["added", "removed", "touched", "size", "resize", "channels"])
def test_any_change_makes_another_store(root, cache, change):
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


def test_a_damaged_store_is_built_anew_and_says_so(root, cache, caplog):
    file = Path(open_store(source_of(root), cache).images.filename)
    file.write_bytes(file.read_bytes()[:200])
    opened = open_store(source_of(root), cache)
    assert "damaged" in caplog.text
    assert opened.images[-1, 0, 0, 0] == 90


def test_up_to_five_percent_may_be_corrupt_and_are_left_out(root, cache):
    (root / "a" / "4.png").write_text("no image")
    opened = open_store(source_of(root), cache)
    assert list(opened.corrupt) == ["a/4.png"]
    assert len(opened.images) == len(opened.paths) == 19
    assert opened.images[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 50, 60, 70, 80, 90, *range(0, 100, 10)]
    facts = json.loads(next(cache.glob("*.json")).read_text())
    assert facts["corrupt"] == {"a/4.png": "not an image of a known format"}


def test_more_than_that_is_an_error_that_names_one(root, cache):
    for name in ("3", "4"):
        (root / "a" / f"{name}.png").write_text("no image")
    with pytest.raises(UserError, match=r"2 of 20 images cannot be read.*a/3\.png \(not an image"):
        open_store(source_of(root), cache)
    assert left(cache) == [".lock"]


def test_a_full_disk_is_known_before_any_work(root, cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(folder.decode, "decode_rows", lambda *_: pytest.fail("decoded"))
    with pytest.raises(UserError, match=r"(?s)full.*data\.cache_dir.*FEWLABELS_CACHE"):
        open_store(source_of(root), cache)
    assert left(cache) == [".lock"]


def test_too_little_space_is_known_before_any_work(root, cache, monkeypatch):
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: SimpleNamespace(free=9))
    with pytest.raises(UserError, match="full"):
        open_store(source_of(root), cache)
    assert left(cache) == [".lock"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_that_fills_meanwhile_is_an_error_too(tree, cache, monkeypatch, workers):
    root = tree({f"{number:04d}.png": 0 for number in range(600)})
    monkeypatch.setattr(folder, "processors", lambda: workers)
    monkeypatch.setattr(store, "_allocate", lambda *_: Target("/dev/full", 128, (1, 8, 8)))
    with pytest.raises(UserError, match="full"):
        open_store(source_of(root), cache)
    assert left(cache) == [".lock"]


def test_a_helper_process_reports_the_full_disk(tree, cache, monkeypatch):
    root = tree({f"{number:04d}.png": 0 for number in range(600)})
    monkeypatch.setattr(folder, "processors", lambda: 2)
    monkeypatch.setattr(folder, "_decode_here", lambda *_: {})
    monkeypatch.setattr(store, "_allocate", lambda *_: Target("/dev/full", 128, (1, 8, 8)))
    with pytest.raises(UserError, match="full"):
        open_store(source_of(root), cache)


def test_a_cache_that_cannot_be_written_names_the_key(root, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"data\.cache_dir=FOLDER"):
        open_store(source_of(root), tmp_path / "file" / "cache")
    monkeypatch.setenv("FEWLABELS_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="FEWLABELS_CACHE"):
        open_store(source_of(root))


def test_the_environment_names_the_cache(root, tmp_path, monkeypatch):
    monkeypatch.setenv("FEWLABELS_CACHE", str(tmp_path / "there"))
    open_store(source_of(root))
    assert list((tmp_path / "there").glob("some-*.npy"))


def test_what_a_killed_process_left_is_cleared(root, cache):
    file = Path(open_store(source_of(root), cache).images.filename)
    file.unlink()
    file.with_suffix(".99999.tmp").write_bytes(b"half")
    open_store(source_of(root), cache)
    assert left(cache) == [".json", ".lock", ".npy"]


def test_an_interrupt_leaves_nothing(root, cache, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(folder.decode, "decode_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_store(source_of(root), cache)
    assert left(cache) == [".lock"]


def test_two_processes_at_once_build_it_once(tree, cache):
    root = tree({f"c/{number:04d}.png": number % 256 for number in range(1200)}, side=32)
    start = [sys.executable, "-c", BUILD, str(root), str(cache)]
    both = [subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    expected = sum(number % 256 for number in range(1200)) * 3 * 32 * 32
    assert [process.returncode for process in both] == [0, 0], said
    assert all(f"sum {expected}" in text for text in said)
    assert "".join(said).count("Prepared 1200 images") == 1
    assert left(cache) == [".json", ".lock", ".npy"]


def test_elsewhere_than_on_a_terminal_one_line_announces_the_work(root, cache, caplog, capfd):
    caplog.set_level(logging.INFO)
    open_store(source_of(root), cache)
    assert sum("Preparing 20 images of some" in record.message for record in caplog.records) == 1
    assert capfd.readouterr() == ("", "")
