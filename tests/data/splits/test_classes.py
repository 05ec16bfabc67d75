"""The choice of seen and unseen classes, and the labels of each."""

import numpy as np
import pytest

from fewlabels.core.errors import UserError
from fewlabels.data.splits.classes import choose_classes, count_labels, warn_missing_classes

SIZES = {"krill": 100, "copepod": 80, "diatom": 60, "salp": 9, "larva": 50}


def choose(**options):
    return choose_classes(SIZES, **({"seen": None, "unseen": None, "min_class_size": 50, "seed": 0} | options))


def test_small_classes_are_excluded():
    classes = choose()
    assert classes.seen == ["copepod", "diatom", "krill", "larva"]
    assert (classes.unseen, classes.excluded) == ([], ["salp"])


def test_unseen_classes_are_drawn_from_the_large_ones():
    draws = {tuple(choose(unseen=2, seed=seed).unseen) for seed in range(30)}
    assert len(draws) > 3
    assert all("salp" not in draw and len(draw) == 2 for draw in draws)
    assert choose(unseen=2, seed=3) == choose(unseen=2, seed=3)
    few, more = set(choose(unseen=1).unseen), set(choose(unseen=3).unseen)
    assert few < more


def test_named_classes_are_used_regardless_of_size():
    classes = choose(seen=["krill"], unseen=["salp", "diatom"])
    assert (classes.seen, classes.unseen, classes.excluded) == (["krill"], ["diatom", "salp"], ["copepod", "larva"])


def test_seen_classes_are_never_drawn_as_unseen():
    for seed in range(10):
        classes = choose(seen=["krill", "salp"], unseen=2, seed=seed)
        assert classes.seen == ["krill", "salp"]
        assert not {"krill", "salp"} & set(classes.unseen)


@pytest.mark.parametrize(
    ("options", "message"),
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
def test_errors_in_class_names_list_the_possible_ones(options, message):
    with pytest.raises(UserError, match=message):
        choose(**options)


def test_without_class_folders_there_are_no_classes():
    assert choose_classes({}, seen=None, unseen=None, min_class_size=1, seed=0).seen == []


def test_count_labels_needs_two_classes_and_a_label_of_each():
    assert count_labels(np.array([0, 1, 1, 2]), ["a", "b", "c"], [1, 2, 1]).tolist() == [1, 2, 1]
    with pytest.raises(UserError, match=r"at least 2 labelled classes, found 1\..*data\.seen"):
        count_labels(np.array([0, 0]), ["a"], [2])


def test_all_classes_without_a_label_are_named_with_the_size_that_leaves_them_out():
    with pytest.raises(UserError) as caught:
        count_labels(np.array([0, 2]), ["a", "b", "c", "d", "e"], [50, 3, 40, 7, 8])
    assert "of 3 of 5 classes (number of their images): 'b' (3), 'd' (7), 'e' (8). Label" in str(caught.value)
    assert "data.min_class_size=9, which leaves 2 classes" in str(caught.value)


def test_classes_without_held_out_images_are_logged(caplog):
    warn_missing_classes("val", np.array([0, 2, -1]), ["a", "b", "c", "d"])
    assert "The val split has no images of b, d: val metrics do not cover them." in caplog.text
    caplog.clear()
    warn_missing_classes("val", np.array([], np.int64), ["a", "b"])
    assert caplog.text == ""
