"""A labelling session: guesses, views, the estimate, and who may change what."""

import numpy as np
import pytest

from fewlabels.core.errors import UserError
from fewlabels.labelling.labels_file import ConflictError, LabelsFile
from fewlabels.labelling.session import LabellingSession

PLACE = np.repeat([0, 1, 2], [30, 20, 10])
"""The class of every image of `session`."""


def label(session, rows, name, seen=None, editor=""):
    session.assign(rows, name, [None] * len(rows) if seen is None else seen, editor)


def test_three_suggestions_with_their_labels_tell_all_others(session):
    for row in session.rows("suggestions")[:3]:
        label(session, [row], "abc"[PLACE[row]])
    names = np.array([*session.classes, "none"])
    assert (names[session.guesses] == np.array([*"abc"])[PLACE]).mean() > 0.95


def test_labels_of_an_earlier_session_are_there_and_those_of_missing_images_stay(images, tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("path,label\ngone.png,z\nsub/3.png,a\nsub/40.png,b\n")
    session = LabellingSession(images, LabelsFile(file))
    assert session.state()["labelled"] == 2
    assert [(c["name"], c["labels"]) for c in session.state()["classes"]] == [("a", 1), ("b", 1)]
    label(session, [5], "a")
    assert "gone.png,z" in file.read_text()


def test_views_hold_what_their_names_say(session):
    label(session, [0, 1], "a")
    label(session, [30], "b")
    assert sorted(session.rows("all")) == list(range(60))
    assert sorted(session.rows("label", "a")) == [0, 1]
    guessed = session.rows("guess", "a") + session.rows("guess", "b")
    assert sorted(guessed) == sorted(set(range(60)) - {0, 1, 30})
    certain = session.probabilities[session.rows("guess", "a"), session.classes.index("a")]
    assert (np.diff(certain) <= 0).all()
    assert session.rows("near", "40")[0] == 40
    assert {PLACE[row] for row in session.rows("near", "40")[:15]} == {1}
    assert (np.diff(session.doubt[session.rows("doubtful")]) <= 0).all()
    clusters = [row for k in range(session.state()["clusters"]) for row in session.rows("cluster", str(k))]
    assert sorted(clusters) == list(range(60))
    first = session.rows("cluster", "0")
    to_centre = session.images.points[first] @ session.images.points[first].mean(0)
    assert (np.diff(to_centre) <= 1e-6).all()


@pytest.mark.parametrize(("view", "argument"), [
    ("guess", "unknown"), ("label", ""), ("near", "60"), ("near", "-1"), ("cluster", "x"), ("other", ""),
])  # fmt: skip
def test_other_views_are_refused(session, view, argument):
    with pytest.raises(UserError, match="There is no view"):
        session.rows(view, argument)


def test_what_the_labels_tell_is_estimated_after_they_have_changed(session):
    label(session, [0, 1, 2, 30, 31], "x")
    session.estimate()
    assert (session.state()["advice"], session.state()["curve"]) == ("", [])
    session.undo("")
    for name, rows in (("a", range(20)), ("b", range(30, 45)), ("c", range(50, 56))):
        label(session, [*rows], name)
    assert session.changed.is_set()
    session.estimate()
    assert not session.changed.is_set()
    state = session.state()
    assert "Another 19 labels are expected to bring" in state["advice"]
    assert [labels for labels, _ in state["curve"]] == [10, 20, 37, 41, 60]
    assert all(0.8 < accuracy <= 1 for _, accuracy in state["curve"])


def test_the_farthest_from_all_labels_come_first_among_those_unlike_all(session):
    with pytest.raises(UserError, match="There is no view"):
        session.rows("unlike")
    label(session, [0, 1], "a")
    label(session, [30, 31], "b")
    rows = session.rows("unlike")
    assert {PLACE[row] for row in rows[:10]} == {2}
    assert sorted(rows) == sorted(set(range(60)) - {0, 1, 30, 31})


def test_undo_and_other_programs_change_the_guesses(session, tmp_path):
    label(session, [0], "a", editor="one")
    version = session.version
    assert session.undo("one") == [0]
    assert session.undo("one") == []
    assert (session.classes, session.version > version) == ([], True)
    (tmp_path / "labels.csv").write_text("path,label\nsub/7.png,q\n")
    session.refresh()
    assert session.state()["classes"] == [{"name": "q", "labels": 1, "guesses": 59}]


def test_a_label_that_was_not_seen_is_kept(session):
    label(session, [0], "a")
    with pytest.raises(ConflictError):
        label(session, [0, 1], "b")
    assert sorted(session.rows("label", "a")) == [0]
    label(session, [0, 1], "b", ["a", None])
    assert sorted(session.rows("label", "b")) == [0, 1]


@pytest.mark.parametrize(("rows", "name", "seen"), [
    ([60], "a", [None]), ([0], " ", [None]), ([0], "a", []), ([-1], "a", [None]),
])  # fmt: skip
def test_what_is_no_label_of_an_image_is_refused(session, rows, name, seen):
    with pytest.raises(UserError):
        label(session, rows, name, seen)
    assert session.state()["labelled"] == 0


def test_when_all_are_labelled_nothing_is_suggested(session):
    label(session, [*range(60)], "a")
    assert session.rows("suggestions") == []
