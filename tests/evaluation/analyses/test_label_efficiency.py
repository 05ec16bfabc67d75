import numpy as np
import pandas as pd
import pytest

from fewlabels.evaluation.analyses.label_efficiency import LabelEfficiency, capped_text, summary_sentences
from fewlabels.evaluation.result import PIXELS, TRAINED
from fewlabels.probing.intervals import interval, session_spread

START = "random init"
COLUMNS = ["source", "probe", "labels", "repeat", "balanced_accuracy"]


def test_sentences_have_the_accuracy_the_gain_and_the_sufficient_number_of_labels():
    scores = {
        TRAINED: {30: (0.60, 0.64), 80: (0.78, 0.82), 200: (0.86, 0.88), 1000: (0.90,)},
        START: {30: (0.40, 0.40), 80: (0.60, 0.62), 200: (0.70, 0.70), 1000: (0.75,)},
        PIXELS: {30: (0.99, 0.99), 80: (0.99, 0.99), 200: (0.99, 0.99), 1000: (0.99,)},
    }
    rows = [(source, "svc", labels, repeat, value) for source, by_labels in scores.items()
            for labels, values in by_labels.items() for repeat, value in enumerate(values)]  # fmt: skip
    table = pd.DataFrame(rows, columns=COLUMNS).sample(frac=1, random_state=0)  # the order of rows is irrelevant
    # 80 is closest to 90 labels. The gains at 80 labels are 18 and 20; t is 12.706 for 2 repeats, so the intervals are
    # 12.706 × 2.828 / √2 and 12.706 × 1.414 / √2; one session 80 ± 6.314 × 2.828 × √1.5.
    # 95% of 90.0% is 85.5%, which 200 labels reach
    assert summary_sentences(table, "3 classes", network=TRAINED, start=START) == [
        "Support vector machine: balanced accuracy 80.0 ± 25.4% with 80 labels on 3 classes (mean's 95% interval over "
        "2 random draws of labels; one labelling session: 5–95% of draws 58.1–100.0%), +19.0 ± 12.7 points over "
        "random init; 200 labels reach 95% of the accuracy with 1,000 (90.0%)."
    ]


def test_the_total_of_a_probe_is_its_own():
    scores = {"linear": {30: 0.5, 90: 0.7, 3000: 0.9}, "knn": {30: 0.5, 90: 0.7, 2000: 0.8}}
    rows = [(source, probe, labels, 0, value) for source in (TRAINED, START)
            for probe, by_labels in scores.items() for labels, value in by_labels.items()]  # fmt: skip
    linear, knn = summary_sentences(pd.DataFrame(rows, columns=COLUMNS), "x", network=TRAINED, start=START)
    assert "3,000 labels reach 95% of the accuracy with 3,000 (90.0%)" in linear
    assert "2,000 labels reach 95% of the accuracy with 2,000 (80.0%)" in knn


def test_a_cap_on_labels_is_said():
    assert capped_text(["linear", "svc", "knn"], 3500, 2000) == [
        "Support vector machine and 5 nearest neighbours with more than 2,000 of 3,500 labels, to save time: raise "
        "max_labels."
    ]
    assert (
        capped_text(["svc"], 2000, 2000) == capped_text(["linear"], 3500, 2000) == capped_text(["svc"], 9, None) == []
    )


def test_a_single_repeat_has_no_interval():
    rows = [(source, "knn", labels, 0, 0.5) for source in (TRAINED, START) for labels in (30, 60)]
    (sentence,) = summary_sentences(pd.DataFrame(rows, columns=COLUMNS), "x", network=TRAINED, start=START)
    assert "balanced accuracy 50.0% with 60 labels on x, +0.0 points over" in sentence
    assert "; 30 labels reach" in sentence


@pytest.fixture
def result(context, made_up):
    """Label efficiency of perfect embeddings: one dimension per class."""
    settings = context.settings | {"probes": ["linear"], "draws": "balanced"}
    return LabelEfficiency().run(made_up(np.eye(5)[context.embeddings.labels], settings=settings))


def test_perfect_embeddings_have_perfect_accuracy(result):
    table = result.tables["label_efficiency"]
    assert (table[table["source"] == TRAINED]["balanced_accuracy"] == 1).all()
    assert (result.metrics["efficiency/linear_4"], result.metrics["efficiency/linear_10"]) == (1, 1)
    assert "100.0% with 10 labels on 2 classes unseen in pretraining" in result.sentences[0]


def test_both_intervals_are_in_a_table_of_their_own(result):
    table = result.tables["label_efficiency_intervals"]
    names = "source probe labels draws mean mean_95_low mean_95_high session_5 session_95"
    assert list(table.columns) == names.split()
    row = table[(table["source"] == PIXELS) & (table["labels"] == 4)].iloc[0]
    scores = result.tables["label_efficiency"].query("source == @PIXELS and labels == 4")["balanced_accuracy"]
    assert row["draws"] == 2
    ends = [row["mean"], row["mean_95_low"], row["mean_95_high"]]
    assert ends == pytest.approx(interval(scores.to_numpy()), nan_ok=True)
    assert [row["session_5"], row["session_95"]] == pytest.approx(session_spread(scores.to_numpy()), nan_ok=True)


def test_all_sources_get_the_same_budgets_and_repeats(result):
    table = result.tables["label_efficiency"]
    assert list(table.columns) == COLUMNS
    assert list(table["source"].unique()) == [TRAINED, START, PIXELS]
    for _, rows in table.groupby("source"):
        assert sorted(zip(rows["labels"], rows["repeat"], strict=True)) == [(4, 0), (4, 1), (10, 0), (10, 1)]


def test_metrics_are_means_over_repeats_with_a_suffix_per_source(result):
    table = result.tables["label_efficiency"]
    for source, suffix in {TRAINED: "", START: "_untrained", PIXELS: "_pixels"}.items():
        rows = table[(table["source"] == source) & (table["labels"] == 4)]
        assert result.metrics[f"efficiency/linear_4{suffix}"] == pytest.approx(rows["balanced_accuracy"].mean())
    assert len(result.metrics) == 6


def test_pixels_are_fitted_on_an_even_sample_of_the_training_images(context, monkeypatch):
    module = "fewlabels.evaluation.analyses.label_efficiency"
    given = []

    def components(train, *others):
        parts = [np.concatenate(list(chunks)) for chunks in others]
        given.extend([train, *parts])
        return [part.reshape(len(part), -1).astype(np.float32) for part in parts]

    monkeypatch.setattr(f"{module}.pixel_components", components)
    monkeypatch.setattr(f"{module}.CHUNK", 7)
    LabelEfficiency(pixel_images=10).run(context)
    train, pool, test = context.data.indices("train"), context.pool_embeddings, context.test_embeddings
    for images, rows in zip(given, (train[:: len(train) // 10], pool.index, test.index), strict=True):
        assert np.array_equal(images, context.data.images(rows).numpy())
