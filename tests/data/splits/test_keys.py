"""Keys: what stays together in every split, and what moves nothing."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewlabels.core.errors import UserError
from fewlabels.data.splits.assignment import assign
from fewlabels.data.splits.keys import group_names, shortest_unique_names, split_keys

QUICK = settings(max_examples=60, deadline=None)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=6)


def distinct(count):
    return np.arange(count, dtype=np.int64)


def test_a_key_is_the_file_name_with_parents_where_it_repeats():
    paths = ["crab/1.png", "eel/1.png", "eel/2.png", "a/x/3.png", "b/x/3.png", "3.png"]
    names = ["crab/1.png", "eel/1.png", "2.png", "a/x/3.png", "b/x/3.png", "3.png"]
    assert shortest_unique_names(paths) == split_keys(paths, distinct(6)) == names
    assert split_keys(paths, distinct(6), by="path") == paths


@QUICK
@given(st.lists(st.lists(NAMES, min_size=1, max_size=4).map("/".join), unique=True, max_size=30))
def test_names_are_ends_of_their_paths_and_unique(paths):
    names = shortest_unique_names(paths)
    normal = [unicodedata.normalize("NFC", path) for path in paths]
    assert all(f"/{path}".endswith(f"/{name}") for path, name in zip(normal, names, strict=True))
    if len(set(normal)) == len(paths):
        assert len(set(names)) == len(names)


def test_sorting_a_flat_folder_into_classes_moves_no_image():
    flat = [f"{number:05d}.png" for number in range(2000)]
    classes = [f"{('crab', 'eel', 'ray')[number % 3]}/{name}" for number, name in enumerate(flat)]
    before, after = (assign(split_keys(paths, distinct(2000)), 0.1, 0.2, 0) for paths in (flat, classes))
    assert (before == after).all()
    by_path = [assign(split_keys(paths, distinct(2000), by="path"), 0.1, 0.2) for paths in (flat, classes)]
    assert (by_path[0] != by_path[1]).sum() > 500


def test_composed_and_decomposed_names_are_the_same():
    composed, decomposed = (unicodedata.normalize(form, "Öland/å.png") for form in ("NFC", "NFD"))
    assert composed != decomposed
    assert split_keys([composed], distinct(1)) == split_keys([decomposed], distinct(1))


def test_exact_copies_share_a_key():
    paths = ["a/1.png", "a/2.png", "b/3.png", "b/4.png"]
    assert split_keys(paths, np.array([7, 8, 7, 9])) == ["1.png", "2.png", "1.png", "4.png"]
    assert split_keys(paths, np.array([7, 8, 7, 9]), by="path") == paths


def test_groups_and_copies_are_joined_into_one_set():
    paths = ["s1/1.png", "s1/2.png", "s2/3.png", "s2/4.png", "s3/5.png"]
    keys = split_keys(paths, np.array([1, 2, 2, 3, 4]), group=1)  # 2.png = 3.png joins s1 and s2
    assert keys == ["group s1"] * 4 + ["group s3"]


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (None, [None] * 4),
        (1, ["crab", "crab", "eel", None]),
        (2, ["crab/s1", "crab/s1", None, None]),
        (r"/(s\d+)/", ["s1", "s1", None, None]),
        (r"\d+", ["1", "1", "7", "9"]),
    ],
)
def test_groups_are_folders_or_matches(group, expected):
    paths = ["crab/s1/a.png", "crab/s1/b.png", "eel/7.png", "9.png"]
    assert group_names(paths, group) == expected


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("(", r"data\.group=\( is no valid regular expression \(.*Give one that matches"),
        ("specimen", r"data\.group=specimen finds no group in any of the 1 paths, such as a/1\.png.*Give a regular"),
        (2, r"data\.group=2 finds no group"),
        (0, r"data\.group=0 finds no group"),
    ],
)
def test_a_group_that_matches_nothing_is_an_error(group, message):
    with pytest.raises(UserError, match=message):
        split_keys(["a/1.png"], distinct(1), group=group)
