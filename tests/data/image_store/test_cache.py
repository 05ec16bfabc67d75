"""The cache folder: what is listed, what is removed, and what never is."""

import fcntl
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from fewlabels.core.errors import UserError
from fewlabels.data.image_store import cache
from fewlabels.data.image_store.cache import DAY, choose, list_entries, remove, shown_size, table
from fewlabels.data.image_store.decode import Decoding
from fewlabels.data.image_store.folder import folder_source
from fewlabels.data.image_store.store import open_store

KEYS = {"old": "1e2" + "0" * 17, "gone": "1e3" + "0" * 17, "new": "ab" * 10}


@pytest.fixture
def folder(tmp_path):
    """Three stores: one last used 40 days ago, one whose folder is gone, and a new one; and files of others."""
    folder, images = tmp_path / "cache", tmp_path / "images"
    folder.mkdir()
    images.mkdir()
    for name, key in KEYS.items():
        stem = folder / f"my-data-{key}"
        np.save(stem.with_suffix(".npy"), np.zeros((3, 1, 4, 4), np.uint8))
        described = {"where": str(images if name != "gone" else tmp_path / "gone"), "paths": ["a", "b", "c"]}
        stem.with_suffix(".json").write_text(json.dumps(described))
        stem.with_suffix(".lock").touch()
    (folder / f"my-data-{KEYS['new']}-{'0' * 12}.parquet").write_bytes(b"0" * 100)
    then = time.time() - 40 * DAY
    os.utime(folder / f"my-data-{KEYS['old']}.npy", (then, then))
    for name in ("notes.txt", "my-data-12.npy", f"x-{KEYS['old']}.txt", f"{KEYS['old']}.npy"):
        (folder / name).write_text("mine")
    (folder / f"dir-{KEYS['old']}.npy").mkdir()
    (folder / f"link-{KEYS['old']}.npy").symlink_to(folder / "notes.txt")
    return folder


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_stores_are_listed_with_their_source_size_and_age(folder):
    found = {entry.key: entry for entry in list_entries(folder)}
    assert set(found) == set(KEYS.values())
    new = found[KEYS["new"]]
    assert (new.name, new.images, new.embeddings, len(new.files)) == ("my-data", 3, 1, 4)
    assert new.size == sum(file.stat().st_size for file in folder.iterdir() if KEYS["new"] in file.name)
    assert [found[KEYS[name]].source for name in KEYS] == ["exists", "gone", "exists"]
    assert found[KEYS["old"]].age() == pytest.approx(40, abs=0.1)
    assert new.age() < 0.1


def test_the_table_has_aligned_columns_and_the_total(folder):
    lines = table(list_entries(folder)).splitlines()
    assert lines[0].split() == ["key", "data", "images", "networks", "size", "last", "used", "folder"]
    place = lines[0].index("folder")
    assert all(line[place - 2 : place] == "  " and line[place] != " " for line in lines[:-1])
    assert any(line.endswith("/gone (gone)") for line in lines)
    assert any("40 days ago" in line and line.startswith("1e200000") for line in lines)
    assert lines[-1].startswith("3 stores, ")
    assert table([]) == "There are no stores."


def test_unused_are_those_whose_folder_is_gone_or_that_are_old(folder):
    entries = list_entries(folder)
    assert {e.key for e in choose(entries, "unused", 30)} == {KEYS["old"], KEYS["gone"]}
    assert {e.key for e in choose(entries, "unused", 50)} == {KEYS["gone"]}
    assert choose(entries, "all", 30) == entries
    assert [e.key for e in choose(entries, ["ab", "1e2"], 30)] == [e.key for e in entries if e.key != KEYS["gone"]]
    for key in ("1e", "ff", ""):
        with pytest.raises(UserError, match=f"clean={key}: . stores have a key that begins so"):
            choose(entries, [key], 30)


def test_a_relative_or_unknown_source_is_not_taken_for_gone(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for where in ("elsewhere/images", "cifar10", ""):
        (folder / f"my-data-{KEYS['new']}.json").write_text(json.dumps({"where": where, "paths": []}))
        (entry,) = [e for e in list_entries(folder) if e.key == KEYS["new"]]
        assert (entry.source, entry.is_unused(30)) == ("", False)
    (folder / f"my-data-{KEYS['new']}.json").write_text("{half")
    (entry,) = [e for e in list_entries(folder) if e.key == KEYS["new"]]
    assert (entry.images, entry.where) == (None, "")


def test_whatever_is_removed_the_files_of_others_stay(folder):
    others = {name for name in names(folder) if not name.startswith("my-data-") or name == "my-data-12.npy"}
    assert remove(list_entries(folder)) == {}
    assert names(folder) == others
    assert (folder / "notes.txt").read_text() == "mine"


def test_what_a_killed_process_left_is_removed_with_its_store(folder):
    left = folder / f"my-data-{KEYS['old']}.npy.123.tmp"
    left.write_bytes(b"half")
    remove(choose(list_entries(folder), ["1e2"], 30))
    assert not [name for name in names(folder) if name.startswith(f"my-data-{KEYS['old']}")]


def test_a_store_that_is_being_prepared_is_kept(folder):
    with (folder / f"my-data-{KEYS['old']}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        before = names(folder)
        assert remove(choose(list_entries(folder), ["1e2"], 30)) == {KEYS["old"]: "another process is preparing it"}
        assert names(folder) == before
    assert remove(choose(list_entries(folder), ["1e2"], 30)) == {}


@pytest.mark.subprocess
def test_a_store_that_another_process_has_mapped_is_kept(folder):
    file = folder / f"my-data-{KEYS['new']}.npy"
    code = f"import numpy; x = numpy.load({str(file)!r}, mmap_mode='r'); print('ready', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        kept = remove(list_entries(folder))
        assert kept == {KEYS["new"]: f"process {process.pid} has it open"}
        process.communicate(b"\n")
    assert file.is_file()
    assert remove(list_entries(folder)) == {}


def test_a_real_store_is_listed_and_built_again_after_it_was_removed(tree, tmp_path):
    root = tree({f"a/{n}.png": n for n in range(5)})
    source = folder_source(root, "images", Decoding("pad"), size=8, channels=1)
    before = np.array(open_store(source, tmp_path / "cache").images)
    (entry,) = list_entries(tmp_path / "cache")
    assert (entry.name, entry.images, entry.where, entry.source) == ("images", 5, str(root), "exists")
    assert remove([entry]) == {}
    assert names(tmp_path / "cache") == set()
    assert np.array_equal(open_store(source, tmp_path / "cache").images, before)


def test_a_folder_that_is_missing_is_empty_and_a_file_is_refused(tmp_path):
    assert list_entries(tmp_path / "none") == []
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cache_dir=.*file cannot be read"):
        list_entries(tmp_path / "file")


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (2_000_000_000, "2.0 GB")])
def test_sizes_are_shown_with_a_unit(size, text):
    assert shown_size(size) == text


def test_open_files_of_processes_that_end_meanwhile_are_no_error(monkeypatch):
    import psutil

    class Gone:
        pid = 1

        def open_files(self):
            raise psutil.NoSuchProcess(1)

    monkeypatch.setattr(psutil, "process_iter", lambda: [Gone()])
    assert cache._open_files() == {}
