"""Groups of runs: names, means over pretraining seeds, leads and their intervals."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fewlabels.core.errors import UserError
from fewlabels.evaluation.groups import group_means, name_groups, replicated, short_names, summary_sentences


def efficiency(**scores):
    """Balanced accuracies by source: {labels: values of the repeats}."""
    rows = [(source, "svc", labels, repeat, value) for source, by_labels in scores.items()
            for labels, values in by_labels.items() for repeat, value in enumerate(values)]  # fmt: skip
    return pd.DataFrame(rows, columns=["source", "probe", "labels", "repeat", "balanced_accuracy"])


def test_names_are_the_shortest_that_differ():
    assert short_names(["runs/a", "runs/b"]) == ["a", "b"]
    assert short_names(["one/run", "two/run/"]) == ["one/run", "two/run"]
    with pytest.raises(UserError, match="run=x,x gives a run twice"):
        short_names(["x", "x"])


def test_runs_alone_are_groups_of_one():
    groups = name_groups(["runs/a", "runs/b"])
    assert groups == {"a": {"a": "runs/a"}, "b": {"b": "runs/b"}}
    assert not replicated(groups)


def test_groups_are_named_by_what_their_runs_begin_with():
    groups = name_groups([["x/simclr-0", "x/simclr-1"], ["x/rotnet-0", "x/rotnet-1"], "x/arcface"])
    assert list(groups) == ["simclr (2 runs)", "rotnet (2 runs)", "arcface"]
    assert groups["rotnet (2 runs)"] == {"rotnet-0": "x/rotnet-0", "rotnet-1": "x/rotnet-1"}
    assert replicated(groups)
    assert list(name_groups([["x/1", "x/2"], ["x/3", "x/4"]])) == ["1 (2 runs)", "3 (2 runs)"]
    with pytest.raises(UserError, match="a group is empty"):
        name_groups([["x/1"], []])


def test_the_runs_of_a_group_are_its_repeats():
    table = efficiency(a0={10: [0.1, 0.3]}, a1={10: [0.5, 0.7]}, b0={10: [0.2, 0.4]})
    means = group_means(table, {"a": ["a0", "a1"], "b": ["b0"]})
    assert means["source"].tolist() == ["a", "a", "b"]
    assert means["repeat"].tolist() == [0, 1, 0]
    assert means["balanced_accuracy"].tolist() == pytest.approx([0.2, 0.6, 0.3])


def test_single_checkpoints_are_paired_by_draw_and_called_the_best_of_them():
    table = efficiency(
        a={30: [0.1, 0.1], 100: [0.80, 0.84], 200: [0.9]},
        b={30: [0.9, 0.9], 100: [0.70, 0.74], 200: [0.9]},
        c={30: [0.9, 0.9], 100: [0.70, 0.92], 200: [0.9]},
    )
    sentence, meaning = summary_sentences(table, {"a": [0], "b": [0], "c": [1]})
    # Student's t for 2 values: 12.706 × std / √2; the lead over c is 10 and -8, that over b is 10 twice: no interval
    assert sentence == (
        "Support vector machine, 100 labels: a has the highest balanced accuracy, 82.0 ± 25.4% (one labelling session: "
        "5–95% of draws 60.1–100.0%); +1.0 ± 114.4 points over c (no clear difference); +10.0 points "
        "over b (no interval)."
    )
    assert meaning.startswith("The best of 3 single checkpoints: intervals are over draws of labels")
    assert "say nothing about other seeds" in meaning


def test_a_single_repeat_has_no_interval():
    sentence, _ = summary_sentences(efficiency(a={200: [0.9]}, b={200: [0.5]}), {"a": [0], "b": [0]})
    assert sentence == (
        "Support vector machine, 200 labels: a has the highest balanced accuracy, 90.0%; +40.0 points over b (no "
        "interval)."
    )


@pytest.mark.parametrize(("seeds", "paired"), [((0, 1, 2), True), ((5, 6, 7), False)])
def test_groups_are_paired_only_by_equal_seeds(seeds, paired):
    a, b = np.array([0.80, 0.84, 0.88]), np.array([0.71, 0.74, 0.79])
    table = efficiency(a={90: a}, b={90: b}, start={90: [0.5]})
    sentence, meaning = summary_sentences(table, {"a": [0, 1, 2], "b": seeds})
    if paired:
        half = stats.t.ppf(0.975, 2) * (a - b).std(ddof=1) / np.sqrt(3)
    else:
        low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
        half = (high - low) / 2
    assert f"+{100 * (a - b).mean():.1f} ± {100 * half:.1f} points over b" in sentence
    assert "points over start (no interval)" in sentence
    assert meaning == "Intervals are over pretrainings: each value is a run's mean over the draws of labels."
    table = efficiency(a={90: a}, b={90: [0.5]})
    assert "1 of the groups is a single run" in summary_sentences(table, {"a": [0, 1, 2], "b": [0]})[-1]
