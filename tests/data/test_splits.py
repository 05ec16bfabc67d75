"""Splits, label subsets and the choice of classes."""

import numpy as np
import pytest

from fewlabels.data.splits import assign, assign_official, choose_classes, nested_subset, uniform
from fewlabels.errors import UserError

PATHS = [f"class{number % 7}/{number:05d}.png" for number in range(10_000)]
SIZES = {"krill": 100, "copepod": 80, "diatom": 60, "salp": 9, "larva": 50}


def test_hashes_are_uniform_and_the_same_everywhere():
    draws = np.array([uniform(path, "split") for path in PATHS])
    assert np.histogram(draws, 10, (0, 1))[0].std() < 60
    assert uniform("a/b.png", "split") == pytest.approx(0.4234513128494166, abs=1e-15)
    assert uniform("a/b.png", "labels 0") != uniform("a/b.png", "labels 1")


def test_the_shares_are_as_asked():
    split = assign(PATHS, 0.05, 0.2)
    shares = [np.mean(split == name) for name in ("train", "val", "test")]
    assert shares == pytest.approx([0.75, 0.05, 0.2], abs=0.015)


def test_a_new_image_moves_no_other():
    before = dict(zip(PATHS, assign(PATHS, 0.1, 0.1), strict=True))
    more = ["aaa/new.png", *PATHS[:5000], "class3/new.png", *PATHS[5000:]]
    after = dict(zip(more, assign(more, 0.1, 0.1), strict=True))
    assert all(after[path] == split for path, split in before.items())


def test_a_larger_val_share_takes_nothing_from_the_test():
    few, many = assign(PATHS, 0.05, 0.2), assign(PATHS, 0.15, 0.2)
    assert ((few == "test") == (many == "test")).all()


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.2), (0.5, 0.5), (0.2, 1.0)])
def test_shares_that_leave_nothing_are_refused(val, test):
    with pytest.raises(UserError, match=r"data\.val_fraction.*data\.test_fraction"):
        assign(PATHS, val, test)


def test_an_official_test_split_is_kept():
    paths = [f"cat/train-{number:03d}" for number in range(500)] + ["cat/test-000", "unlabelled-test", "test-1"]
    split = assign_official(paths, 0.1, 0)
    assert split[-3] == split[-1] == "test"
    assert (split == "test").sum() == 2
    assert 20 < (split == "val").sum() < 80
    with pytest.raises(UserError, match=r"data\.test_fraction=0.1 must be 0"):
        assign_official(paths, 0.1, 0.1)


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


def test_another_seed_knows_other_labels(labels):
    rows = np.arange(10_000)
    first, again, other = (set(nested_subset(PATHS, labels, rows, 0.1, seed)) for seed in (0, 0, 1))
    assert first == again
    assert len(first & other) / len(first) < 0.2


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, 10])
def test_an_impossible_label_share_names_its_key(labels, fraction):
    with pytest.raises(UserError, match=rf"data\.label_fraction={fraction} "):
        nested_subset(PATHS, labels, np.arange(100), fraction, 0)


def choose(**options):
    return choose_classes(SIZES, **({"seen": None, "unseen": None, "min_class_size": 50, "seed": 0} | options))


def test_small_classes_are_set_aside():
    classes = choose()
    assert classes.seen == ["copepod", "diatom", "krill", "larva"]
    assert (classes.unseen, classes.aside) == ([], ["salp"])


def test_unseen_classes_are_drawn_by_seed_among_the_large():
    draws = {tuple(choose(unseen=2, seed=seed).unseen) for seed in range(30)}
    assert len(draws) > 3
    assert all("salp" not in draw and len(draw) == 2 for draw in draws)
    assert choose(unseen=2, seed=3) == choose(unseen=2, seed=3)
    few, more = set(choose(unseen=1).unseen), set(choose(unseen=3).unseen)
    assert few < more


def test_named_classes_are_kept_whatever_their_size():
    classes = choose(seen=["krill"], unseen=["salp", "diatom"])
    assert (classes.seen, classes.unseen, classes.aside) == (["krill"], ["diatom", "salp"], ["copepod", "larva"])


def test_the_draw_spares_the_seen():
    for seed in range(10):
        classes = choose(seen=["krill", "salp"], unseen=2, seed=seed)
        assert classes.seen == ["krill", "salp"]
        assert not {"krill", "salp"} & set(classes.unseen)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"unseen": ["copepd"]}, r"data\.unseen names the class 'copepd'.*copepod"),
        ({"seen": ["Krill"]}, r"data\.seen names the class 'Krill'.*krill"),
        ({"unseen": "krill"}, r"must be a list"),
        ({"unseen": 4}, r"data\.unseen=4: of the 4 classes.*0 to 3"),
        ({"unseen": -1}, r"data\.unseen=-1"),
        ({"seen": ["krill"], "unseen": ["krill"]}, "both name krill"),
        ({"unseen": ["krill", "krill"]}, "once"),
        ({"min_class_size": 1000}, r"data\.min_class_size=1000"),
    ],
)
def test_a_wrong_choice_of_classes_says_what_is_possible(options, says):
    with pytest.raises(UserError, match=says):
        choose(**options)


def test_without_classes_there_is_nothing_to_choose():
    assert choose_classes({}, seen=None, unseen=None, min_class_size=1, seed=0).seen == []
