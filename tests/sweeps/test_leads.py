"""Leads of settings over each other: intervals over seeds, binomial errors, and no winner inside the noise."""

from pathlib import Path

import numpy as np

from fewlabels.sweeps.jobs import FINISHED, Job, read_jobs
from fewlabels.sweeps.leads import comparison_sentences

KNN = "val/knn_accuracy"


def sentences(tmp_path, write_job, results, keys=("method.temperature", "seed"), metric=KNN):
    """The comparison of jobs: (temperature, seed) to results."""
    for number, ((temperature, seed), values) in enumerate(results.items()):
        write_job(tmp_path, number, [f"method.temperature={temperature}", f"seed={seed}"], values)
    return comparison_sentences(read_jobs(tmp_path), list(keys), metric)


def test_a_winner_is_named_where_the_paired_interval_over_seeds_excludes_0(tmp_path, write_job):
    results = {("0.1", s): {KNN: 0.6 + 0.1 * s} for s in range(3)} | {
        ("0.5", s): {KNN: 0.5 + 0.101 * s} for s in range(3)
    }
    (sentence,) = sentences(tmp_path, write_job, results)
    half = 4.302653 * 0.001 / np.sqrt(3)  # gains 0.1, 0.099, 0.098; tabulated t, 2 dof; not so unpaired
    assert (
        sentence
        == f"temperature=0.1 leads temperature=0.5 by 0.099 ± {half:.2g} in {KNN} (95% interval over 3 seeds, paired)."
    )


def test_no_winner_is_named_inside_the_noise(tmp_path, write_job):
    results = {
        (t, s): {KNN: v + d} for t, v in (("0.1", 0.60), ("0.5", 0.59), ("1", 0.2)) for s, d in ((0, 0.0), (1, 0.05))
    }
    results["0.5", 1][KNN] = 0.70
    (sentence,) = sentences(tmp_path, write_job, results)
    assert sentence.startswith(f"No clear winner in {KNN} among temperature=0.5 (0.645), temperature=0.1 (0.625)")
    assert "the 95% interval of the lead, 0.02 ± 0.38 over 2 seeds, paired, holds 0." in sentence


def test_one_seed_is_compared_by_the_binomial_error_of_the_validation_images(tmp_path, write_job):
    results = {("0.1", 0): {KNN: 0.60, "val/probes_n": 400}, ("0.5", 0): {KNN: 0.57, "val/probes_n": 400},
               ("1", 0): {KNN: 0.40, "val/probes_n": 400}}  # fmt: skip
    (sentence,) = sentences(tmp_path, write_job, results)
    half = 1.96 * np.sqrt((0.6 * 0.4 + 0.57 * 0.43) / 400)
    assert (
        f"among temperature=0.1 (0.6), temperature=0.5 (0.57): the 95% interval of the lead, 0.03 ± {half:.2g}"
        in sentence
    )
    certain, less = ({KNN: p, "val/probes_n": 400} for p in (1.0, 0.995))
    (tmp_path / "other").mkdir()
    (sentence,) = sentences(tmp_path / "other", write_job, {("0.1", 0): certain, ("0.5", 0): less})
    assert sentence.startswith("No clear winner"), "two errors in 400 are none by chance"


def test_equal_settings_have_a_winner_in_at_most_5_percent_of_sweeps():
    rng, named = np.random.default_rng(0), 0
    for _ in range(300):
        jobs = [Job(Path(str(k)), {"a": str(k)}, FINISHED, "", {KNN: rng.binomial(400, 0.6) / 400, "val/probes_n": 400})
                for k in range(6)]  # fmt: skip
        named += "leads" in comparison_sentences(jobs, ["a"], KNN)[0]
    assert named / 300 <= 0.05
