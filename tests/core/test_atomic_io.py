"""Atomic writes: round trips, and what a failure leaves."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewlabels.core.atomic_io import atomic_folder, atomic_write, is_utf8, spelled, unspelled, write_text

few_examples = settings(max_examples=25, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("atomic")


@few_examples
@given(content=st.binary(), before=st.none() | st.binary())
def test_bytes_round_trip_and_replace_the_old_content(folder, content, before):
    path = folder / "file.bin"
    path.unlink(missing_ok=True)
    if before is not None:
        path.write_bytes(before)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
        assert (path.read_bytes() if path.exists() else None) == before
    assert path.read_bytes() == content
    assert [file.name for file in folder.iterdir()] == ["file.bin"]


@few_examples
@given(text=st.text(st.sampled_from("a\0\r\n\té漢😀\u2028")))
def test_text_round_trips_as_utf8(folder, text):
    write_text(folder / "file.bin", text)
    assert (folder / "file.bin").read_bytes() == text.encode("utf-8")


@few_examples
@given(name=st.binary())
def test_file_names_that_are_not_utf8_round_trip(folder, name):
    write_text(folder / "file.bin", name.decode("utf-8", "surrogateescape"))
    assert (folder / "file.bin").read_bytes() == name


@pytest.mark.parametrize("before", [None, b"old"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_content_and_no_temporary_file(before, error, tmp_path):
    path = tmp_path / "file.bin"
    if before is not None:
        path.write_bytes(before)

    def interrupted_write():
        with atomic_write(path) as temporary:
            temporary.write_bytes(b"half of the new cont")
            raise error

    with pytest.raises(error):
        interrupted_write()
    assert (path.read_bytes() if path.exists() else None) == before
    assert [file.name for file in tmp_path.iterdir()] == ([] if before is None else ["file.bin"])


def test_a_block_that_writes_nothing_leaves_the_old_content(tmp_path):
    (tmp_path / "file.bin").write_bytes(b"old")
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "file.bin"):
        pass
    assert (tmp_path / "file.bin").read_bytes() == b"old"


def test_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        write_text(tmp_path / "missing" / "file.txt", "text")


def test_the_temporary_file_is_in_the_same_folder_and_named_by_process(tmp_path):
    with atomic_write(tmp_path / "file.bin") as temporary:
        temporary.touch()
        assert temporary.parent == tmp_path
        assert temporary.name == f"file.bin.{os.getpid()}.tmp"


def test_a_folder_has_its_name_once_it_is_complete(tmp_path):
    with atomic_folder(tmp_path / "made") as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "file.bin").write_bytes(b"new")
        assert temporary.parent == tmp_path
        assert not (tmp_path / "made").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert (tmp_path / "made" / "deep" / "file.bin").read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_no_folder(error, tmp_path):
    def interrupted_write():
        with atomic_folder(tmp_path / "made") as temporary:
            (temporary / "file.bin").write_bytes(b"half of the new cont")
            raise error

    with pytest.raises(error):
        interrupted_write()
    assert not any(tmp_path.iterdir())


def test_a_folder_may_be_there_and_empty_and_links_in_it_are_not_followed(tmp_path):
    (tmp_path / "made").mkdir()
    with atomic_folder(tmp_path / "made") as temporary:
        (temporary / "link").symlink_to(tmp_path / "nowhere")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["made", "made/link"]


def test_a_folder_that_exists_is_not_replaced(tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "old").touch()
    with pytest.raises(OSError, match="not empty"), atomic_folder(tmp_path / "made"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "old"]


SIGNS = st.sampled_from([b"%", b"2", b"5", b"E", b"9", b"a", b"\xe9", b"\xff", "é".encode(), b"/"])


@given(st.lists(SIGNS).map(b"".join))
def test_file_names_are_spelled_in_utf8_and_read_back(name):
    text = os.fsdecode(name)
    assert unspelled(spelled(text).encode("utf-8").decode("utf-8")) == text
    assert is_utf8(spelled(text))
    if is_utf8(text) and "%" not in text:
        assert spelled(text) == text


@pytest.mark.parametrize(("name", "spelling"), [
    (b"caf\xe9.png", "caf%E9.png"), (b"a%20b", "a%20b"), (b"50%", "50%"), (b"%e9", "%e9"), ("é".encode(), "é"),
    (b"caf%E9.png", "caf%25E9.png"), (b"%25", "%2525"), (b"%\xff", "%%FF"),
])  # fmt: skip
def test_only_what_could_be_confused_is_spelled(name, spelling):
    assert spelled(os.fsdecode(name)) == spelling
    assert os.fsencode(unspelled(spelling)) == name
