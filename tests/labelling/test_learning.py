"""What labels tell about guesses: accuracy of all images, the curve, and when to stop."""

import numpy as np
import pytest

from fewlabels.labelling.classifier import Classifier
from fewlabels.labelling.learning import Learning, advice, learning
from fewlabels.probing.intervals import Interval, wilson
from fewlabels.probing.propagation import neighbour_graph
from fewlabels.probing.selection import neighbour_space


def scene(noise, labels, wrong=0.0, seed=0):
    """400 images of two classes, of which some are labelled at random, some of these wrongly."""
    draw = np.random.default_rng(seed)
    classes = np.repeat([0, 1], 200)
    points = neighbour_space(3 * np.eye(6)[classes] + noise * draw.normal(size=(400, 6)))
    rows = draw.permutation(400)[:labels]
    given = np.where(draw.random(labels) < wrong, 1 - classes[rows], classes[rows])
    return Classifier(points, neighbour_graph(points), rows, given, 2), classes


def test_accuracy_is_that_of_the_images_and_its_interval_that_of_as_many_labels():
    classifier, classes = scene(1.6, 100)
    found = learning(classifier)
    assert found.accuracy.low < (classifier.probabilities.argmax(1) == classes).mean() < found.accuracy.high
    assert found.labels == 100
    weights = np.bincount(classifier.nearest_label, minlength=100)
    effective = weights.sum() ** 2 / (weights**2).sum()
    assert found.accuracy == wilson(found.accuracy.mean, effective)
    assert 0 < effective < 100


def test_labels_count_as_many_times_as_there_are_images_nearest_to_them():
    """Two crowds of 100 images with 10 labels each, and 30 odd images, all of them labelled at random."""
    draw = np.random.default_rng(0)
    crowds = np.repeat(np.eye(40)[:2], 100, 0) + 0.02 * draw.normal(size=(200, 40))
    vectors = np.concatenate([crowds, np.eye(40)[2:32]])
    points = neighbour_space(vectors, 40)
    rows, labels = np.r_[0:10, 100:110, 200:230], np.r_[np.zeros(10), np.ones(10), np.arange(30) % 2].astype(int)
    found = learning(Classifier(points, neighbour_graph(points, 5), rows, labels, 2))
    assert found.accuracy.mean > 0.9
    unweighted = 20 / 50
    assert found.accuracy.mean > unweighted + 0.3


def test_few_labels_or_one_class_are_not_estimated_from():
    assert learning(scene(1.0, 9)[0]) is None
    classifier, _ = scene(1.0, 50)
    one = Classifier(classifier.points, classifier.graph, classifier.rows, np.zeros(50, int), 1)
    assert learning(one) is None


def test_the_gain_of_more_labels_is_estimated_from_forty_on_and_up_to_all_images():
    few = learning(scene(1.6, 39)[0])
    assert (few.gain, few.curve) == (None, [])
    found = learning(scene(1.6, 40)[0])
    assert [n for n, _ in found.curve] == [10, 20, 36]
    assert found.curve[-1][1] == found.accuracy.mean
    assert found.gain.low <= found.gain.mean <= found.gain.high
    assert learning(scene(1.6, 380)[0]).more == 20
    assert learning(scene(1.6, 400)[0]).gain is None


def test_the_gain_of_errors_that_fall_with_the_root_of_the_number_is_what_the_root_says(monkeypatch):
    """If half of the labels leave a/sqrt(n/2) wrong and nine tenths a/sqrt(0.9 n), 50 more save the difference."""
    classifier, _ = scene(1.0, 100)

    def held_out(classifier, parts, draw, *, keep):
        used = {(10, False): 90, (2, True): 50, (4, True): 25}[parts, keep]
        return np.full(100, most - 2 / np.sqrt(used))

    monkeypatch.setattr("fewlabels.labelling.learning._held_out", held_out)
    most = 1.0
    assert learning(classifier).gain.mean == pytest.approx(2 / np.sqrt(100) - 2 / np.sqrt(150))
    most = 1.2  # so that 150 labels would have more than all images right
    gain, accuracy = learning(classifier).gain, learning(classifier).accuracy
    assert accuracy.mean + gain.mean == pytest.approx(1)
    assert gain.low <= gain.mean <= gain.high <= 1 - accuracy.low


def test_the_sentence_says_to_stop_only_if_the_upper_end_is_below_two_points():
    accuracy = Interval(0.914, 0.85, 0.95)
    text = "About 91% of all images are guessed right (85 to 95)"
    stop = Learning(100, accuracy, [], 50, Interval(0.011, 0.004, 0.019))
    assert advice(stop) == f"{text}. Another 50 labels are expected to bring +1 points (+0 to +2): you may stop."
    go_on = stop._replace(gain=Interval(0.011, -0.004, 0.021))
    assert advice(go_on).endswith("+1 points (+0 to +2): go on.")
    few = stop._replace(labels=30, gain=None)
    assert advice(few) == f"{text}; what more labels would bring is estimated from 40 labels on."
    assert advice(few._replace(labels=90)) == f"{text}."
    assert "Another label is expected to bring" in advice(stop._replace(more=1))
    low = stop._replace(accuracy=Interval(0.0, 0.0, 0.14), gain=Interval(0.0, 0.0, 0.0))
    assert advice(low) == ("About 0% of all images are guessed right (0 to 14): too few to tell what more labels would "
                           "bring. Give every class some more.")  # fmt: skip
