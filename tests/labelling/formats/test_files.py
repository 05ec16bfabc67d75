"""File names that are valid, unique and can be read back; links; folders that are whole or not there."""

import errno
import os
import unicodedata
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewlabels.core.errors import UserError
from fewlabels.labelling.formats.files import folded, link_or_copy, safe_name, unique_name


@pytest.mark.parametrize(("name", "safe"), [
    ("Copepoda", "Copepoda"), ("part<Crustacea", "part<Crustacea"), ("a/b", "a%2Fb"), ("..", "%2E."), (".x", "%2Ex"),
    ("50%", "50%"), ("a%2Fb", "a%252Fb"), (" a ", "%20a%20"), ("a\\b\n", "a%5Cb%0A"), ("__MACOSX", "%5F_MACOSX"),
    ("ø", "ø"),
])  # fmt: skip
def test_invalid_characters_are_written_as_in_an_address(name, safe):
    assert safe_name(name) == safe
    assert unquote(safe) == name


@given(st.lists(st.text(min_size=1, max_size=12), unique=True, max_size=6))
def test_names_are_unique_and_can_be_read_back(names):
    taken = set()
    files = [unique_name(name, taken) for name in names]
    assert len({folded(file) for file in files}) == len(names)
    assert [unquote(file) for file in files] == names
    assert not [file for file in files if "/" in file or file.startswith(".") or file != file.strip(" ")]


def test_names_that_differ_in_case_or_in_form_are_kept_apart():
    taken = set()
    files = [unique_name(name, taken) for name in ("Aé", "aé", "AÉ", unicodedata.normalize("NFD", "Aé"))]
    assert files[:3] == ["Aé", "%61é", "%41É"]
    assert len({folded(file) for file in files}) == 4


@pytest.mark.parametrize("name", ["", "ø" * 128])
def test_a_name_that_no_file_can_have_is_refused(name):
    with pytest.raises(UserError, match="cannot be the name of a file"):
        safe_name(name)


def test_an_image_is_linked_or_copied_where_there_are_no_links(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.write_bytes(b"image")
    assert link_or_copy(source, tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").readlink() == source

    def refuse(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "symlink_to", refuse)
    assert not link_or_copy(source, tmp_path / "a" / "c")
    assert not (tmp_path / "a" / "c").is_symlink()
    assert (tmp_path / "a" / "c").read_bytes() == b"image"
    with pytest.raises(UserError, match="none cannot be read any more"):
        link_or_copy(tmp_path / "none", tmp_path / "a" / "d")
