"""Splits, halves and label subsets."""

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewlabels.core.errors import UserError
from fewlabels.data.splits.assignment import (
    assign,
    assign_folders,
    assign_official,
    halve,
    keep_one_for_training,
    nested_subset,
    uniform,
)

QUICK = settings(max_examples=25, deadline=None, database=None)

PATHS = [f"class{number % 7}/{number:05d}.png" for number in range(10_000)]


def test_hashes_are_uniform_and_platform_independent():
    hashes = np.array([uniform(path, "split") for path in PATHS])
    assert np.histogram(hashes, 10, (0, 1))[0].std() < 60
    assert uniform("a/b.png", "split") == pytest.approx(0.4234513128494166, abs=1e-15)
    assert uniform("a/b.png", "labels 0") != uniform("a/b.png", "labels 1")


def test_split_fractions_match_the_settings():
    split = assign(PATHS, 0.05, 0.2)
    fractions = [np.mean(split == name) for name in ("train", "val", "test")]
    assert fractions == pytest.approx([0.75, 0.05, 0.2], abs=0.015)


def test_adding_an_image_moves_no_other():
    before = dict(zip(PATHS, assign(PATHS, 0.1, 0.1), strict=True))
    more = ["aaa/new.png", *PATHS[:5000], "class3/new.png", *PATHS[5000:]]
    after = dict(zip(more, assign(more, 0.1, 0.1), strict=True))
    assert all(after[path] == split for path, split in before.items())


def test_a_larger_val_fraction_leaves_the_test_split_unchanged():
    few, many = assign(PATHS, 0.05, 0.2), assign(PATHS, 0.15, 0.2)
    assert ((few == "test") == (many == "test")).all()


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.2), (0.5, 0.5), (0.2, 1.0)])
def test_fractions_that_leave_no_training_images_are_an_error(val, test):
    with pytest.raises(UserError, match=r"data\.val_fraction.*data\.test_fraction"):
        assign(PATHS, val, test)


def test_the_official_test_split_is_kept():
    paths = [f"cat/train-{number:03d}" for number in range(500)] + ["cat/test-000", "unlabelled-test", "test-1"]
    split = assign_official(paths, paths, 0.1, 0)
    assert split[-3] == split[-1] == "test"
    assert (split == "test").sum() == 2
    assert 20 < (split == "val").sum() < 80
    with pytest.raises(UserError, match=r"data\.test_fraction=0.1 must be 0"):
        assign_official(paths, paths, 0.1, 0.1)


@QUICK
@given(st.sets(st.text(st.characters(codec="utf-8"), min_size=1), max_size=40), st.integers(0, 99), st.integers(0, 99))
def test_a_split_does_not_depend_on_other_files(paths, val, test):
    every = sorted(paths)
    together = assign(every, val / 200, test / 200)
    assert assign(every[::3], val / 200, test / 200).tolist() == together[::3].tolist()


def test_splits_never_change():
    names = ",".join(assign(PATHS[:1000], 0.1, 0.2))
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == "a465e88ceb168198"
    names = ",".join(assign(PATHS[:1000], 0.1, 0.2, seed=0))
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == "133903307e0a9eda"


def test_every_split_seed_gives_other_splits():
    tested = [set(np.flatnonzero(assign(PATHS[:1000], 0.1, 0.2, seed) == "test")) for seed in (0, 1, None)]
    for one, other in itertools.combinations(tested, 2):
        assert 20 < len(one & other) < 80  # of about 200: independent draws share 40


def test_equal_keys_stay_in_one_half():
    keys = [f"specimen {number // 3}" for number in range(300)]
    rows = np.arange(30, 270)
    first, second = halve(keys, rows)
    assert sorted([*first, *second]) == rows.tolist()
    assert not {keys[row] for row in first} & {keys[row] for row in second}
    assert 80 < len(first) < 160


@pytest.fixture
def labels():
    rng = np.random.default_rng(0)
    return rng.choice([-1, 0, 1, 2, 3], 10_000, p=[0.1, 0.5, 0.3, 0.099, 0.001])


def test_label_subsets_are_nested_and_stratified(labels):
    rows = np.flatnonzero(np.arange(10_000) % 3 > 0)
    smaller: set[int] = set()
    for fraction in (0.001, 0.01, 0.03, 0.1, 0.5, 1.0):
        chosen = nested_subset(PATHS, labels, rows, fraction, seed=0)
        assert smaller <= set(chosen) <= set(rows)
        assert (np.diff(chosen) > 0).all()
        for label in range(4):
            size = (labels[rows] == label).sum()
            assert (labels[chosen] == label).sum() == max(1, round(fraction * size))
        assert (labels[chosen] >= 0).all()
        smaller = set(chosen)
    assert smaller == set(rows[labels[rows] >= 0])


@QUICK
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=6),
    st.floats(0.001, 1),
    st.floats(0.001, 1),
    st.integers(0, 2**32),
)
def test_smaller_subsets_are_contained_in_larger_ones(class_sizes, one, other, seed):
    labels = np.repeat(np.arange(-1, len(class_sizes) - 1), class_sizes)  # the first "class" is the unlabelled images
    paths, rows = [f"image-{row}" for row in range(len(labels))], np.arange(len(labels))
    smaller, larger = (set(nested_subset(paths, labels, rows, f, seed)) for f in sorted((one, other)))
    assert smaller <= larger
    assert {*labels[list(smaller)]} == {*labels[labels >= 0]}


def test_label_subsets_never_change(labels):
    rows = nested_subset(PATHS, labels, np.arange(0, 10_000, 2), 0.1, seed=3)
    assert hashlib.sha256(",".join(map(str, rows)).encode()).hexdigest()[:16] == "8a12b476e7612cfb"


def test_seeds_choose_different_subsets(labels):
    rows = np.arange(10_000)
    first, again, other = (set(nested_subset(PATHS, labels, rows, 0.1, seed)) for seed in (0, 0, 1))
    assert first == again
    assert len(first & other) / len(first) < 0.2


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, 10])
def test_a_label_fraction_out_of_range_is_an_error(labels, fraction):
    with pytest.raises(UserError, match=rf"data\.label_fraction={fraction} "):
        nested_subset(PATHS, labels, np.arange(100), fraction, 0)


@pytest.mark.parametrize(("val", "test"), [(0.1, 0.1), (0.2, 0.4), (0.0, 0.9)])
def test_of_every_class_with_two_images_one_is_for_training(val, test):
    keys = [f"{number}.png" for number in range(300)]
    labels = np.repeat(np.arange(150), 2)
    labels[-2:] = 150, 151  # two classes of a single image
    drawn = assign(keys, val, test, 0)
    kept = keep_one_for_training(drawn, keys, labels)
    assert set(labels[kept == "train"]) >= set(range(149))
    moved = np.flatnonzero(drawn != kept)
    assert len(moved) > 0
    assert (kept[moved] == "train").all()
    assert len(moved) == len(set(labels[moved])) == len(set(range(149)) - set(labels[drawn == "train"]))
    again = keep_one_for_training(assign(keys, 0.0, 0.99, 0), keys, labels)
    assert set(moved) <= set(np.flatnonzero(again == "train"))  # the same one whatever the fractions are


def test_images_of_one_key_move_together_and_one_key_is_not_two_images():
    splits = np.array(["test", "test", "val", "val"])
    kept = keep_one_for_training(splits, ["x", "x", "y", "y"], np.array([0, 0, 1, -1]))
    assert kept.tolist() == splits.tolist()
    kept = keep_one_for_training(splits, ["x", "x", "y", "y"], np.array([0, 1, 0, 1]))
    assert sorted(kept.tolist()) in (["test", "test", "train", "train"], ["train", "train", "val", "val"])


def test_folders_keep_their_split_and_the_others_are_drawn_from_train():
    folders = np.repeat(["train", "test"], [400, 100])
    keys = [f"{number}.png" for number in range(500)]
    assigned = assign_folders(folders, keys, 0.2, 0.3, 0)
    assert (assigned[400:] == "test").all()
    assert 0.15 < (assigned[:400] == "val").mean() < 0.25
    assert not (assigned[:400] == "test").any()
    three = np.repeat(["train", "val", "test"], [400, 50, 50])
    assert (assign_folders(three, keys, 0.2, 0.3, 0) == three).all()
