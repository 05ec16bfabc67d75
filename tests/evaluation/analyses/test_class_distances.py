from dataclasses import replace

import numpy as np
import pytest

from fewlabels.core.errors import UserError
from fewlabels.evaluation.analyses.class_distances import ClassDistances, distances_text
from fewlabels.probing.class_geometry import ClassDistances as Distances


def test_separate_classes_have_silhouette_1_and_ratio_0(context, made_up):
    result = ClassDistances().run(made_up(np.eye(5)[context.embeddings.labels]))
    assert result.metrics == pytest.approx(
        {"seen/silhouette": 1, "seen/angle_ratio": 0, "unseen/silhouette": 1, "unseen/angle_ratio": 0}, abs=1e-6
    )
    assert list(result.figures) == ["distances_seen", "distances_unseen"]


def test_seen_classes_are_those_of_the_test_split_and_unseen_ones_all_of_theirs(context, drawn):
    calls = drawn("class_distances", "distances_figure")["distances_figure"]
    ClassDistances().run(context)
    (seen, unseen) = calls
    assert seen[0][0] == ["bud", "cell", "disc"]
    assert seen[1]["n"] == (context.embeddings.splits == "test").sum()
    assert unseen[0][0] == ["rod", "star"]
    assert unseen[1]["n"] == 48


def test_the_sample_is_capped(context, made_up, drawn):
    calls = drawn("class_distances", "distances_figure")["distances_figure"]
    ClassDistances().run(made_up(settings=context.settings | {"max_samples": 20}))
    assert calls[1][1]["n"] == 20


def test_a_single_class_is_skipped(context):
    labels = np.where(context.embeddings.splits == "unseen", 3, context.embeddings.labels)
    result = ClassDistances().run(replace(context, embeddings=replace(context.embeddings, labels=labels)))
    assert list(result.figures) == ["distances_seen"]
    assert not result.left_out


def test_classes_that_are_too_small_are_left_out_and_the_others_measured(context, monkeypatch):
    def distances(part, **settings):
        if (part.splits == "test").all():
            raise UserError("There are too few.")
        names = ["rod", "star"]
        return Distances(names, np.eye(2), np.eye(2), 0.5, 0.25, 48, np.array([24, 24]))

    monkeypatch.setattr("fewlabels.evaluation.analyses.class_distances.class_distances", distances)
    result = ClassDistances().run(context)
    assert result.left_out == ["Seen classes: There are too few."]
    assert result.metrics == {"unseen/silhouette": 0.5, "unseen/angle_ratio": 0.25}


def test_the_text_says_how_many_classes_are_shown():
    def text(count):
        names = [str(number) for number in range(count)]
        return distances_text(Distances(names, np.eye(count), np.eye(count), 0.125, 0.5, 9, np.ones(count, int)))

    assert text(30) == "images; silhouette 0.12; angle ratio (within / between classes) 0.50"
    assert text(31) == f"{text(30)}; the 30 largest of 31 classes"
