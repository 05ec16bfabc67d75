"""The comparison of initial weights: names, paired gains, sentences and the report."""

import json

import pandas as pd
import pytest
from omegaconf import OmegaConf

from fewlabels.sweeps.init_comparison import (
    SCRATCH,
    comparison_table,
    paired_gains,
    shown_fraction,
    summary_sentences,
    write_comparison,
)
from fewlabels.sweeps.jobs import read_jobs


def change(file, **changes):
    """Set dotted keys of a yaml file."""
    config = OmegaConf.load(file)
    for key, value in changes.items():
        OmegaConf.update(config, key, value)
    OmegaConf.save(config, file)


def test_gains_are_means_of_paired_differences(comparison):
    table = comparison_table(read_jobs(comparison))
    assert table["init"].unique().tolist() == [SCRATCH, "after simclr"]
    (mean, low, high), repeats = paired_gains(table, 0.1)["after simclr"]
    assert (mean, repeats) == (pytest.approx(11.0), 3)
    assert (mean - low, high - mean) == pytest.approx([4.302653 * 1.0 / 3**0.5] * 2, abs=1e-4)
    first, second = summary_sentences(table)
    assert first.startswith("With 2 labels (10% of the training images), from scratch: test accuracy 55.0 ± ")
    assert second.endswith("+11.0 ± 2.5 points paired over 3 repeats: higher.")


def test_the_report_is_written_with_its_figures(comparison):
    assert write_comparison(comparison)
    assert len(pd.read_csv(comparison / "init_comparison.csv")) == 6
    figures = {path.stem for path in (comparison / "figures").iterdir()}
    assert figures == {"init_comparison", "learning_curves", "confusion_matrices"}
    assert "After simclr: 66.0" in (comparison / "report.html").read_text()


@pytest.mark.slow
def test_several_label_fractions_have_a_figure_of_their_own(comparison):
    for number in (2, 3, 4, 5):
        change(comparison / str(number) / "config.yaml", **{"data.label_fraction": 0.5})
    assert shown_fraction(comparison_table(read_jobs(comparison))) == 0.1
    assert write_comparison(comparison)
    assert (comparison / "figures" / "fractions.png").is_file()


def test_there_is_no_gain_while_the_first_init_has_no_repeat(comparison):
    """As in the middle of a sweep: another init must not take the place of the first."""
    for number in (0, 2, 4):
        change(comparison / str(number) / "config.yaml", **{"data.label_fraction": 0.05})
    table = comparison_table(read_jobs(comparison))
    assert paired_gains(table, 0.1) == paired_gains(table, 0.05) == {}
    assert len(summary_sentences(table)) == 1


@pytest.mark.slow
def test_other_settings_that_vary_make_inits_of_their_own(comparison):
    for number, rate in enumerate((0.1, 0.3, 0.1, 0.3, 0.1, 0.3)):
        file = comparison / str(number) / "job.json"
        record = json.loads(file.read_text())
        file.write_text(json.dumps(record | {"overrides": [*record["overrides"], f"method.backbone_lr={rate}"]}))
    inits = set(comparison_table(read_jobs(comparison))["init"])
    assert inits == {"from scratch backbone_lr=0.1", "after simclr backbone_lr=0.3"}
    assert write_comparison(comparison)


def test_two_networks_of_one_method_are_named_by_their_paths(comparison, tmp_path):
    for place in ("one", "two"):
        (tmp_path / place / "simclr").mkdir(parents=True)
        OmegaConf.save({"method": {"name": "simclr"}}, tmp_path / place / "simclr" / "config.yaml")
    (tmp_path / "two" / "simclr" / "run.log").write_text("SYNTHETIC DATA: …")
    for number in range(6):
        checkpoint = str(tmp_path / ("one", "two")[number % 2] / "simclr")
        change(comparison / str(number) / "config.yaml", checkpoint=checkpoint)
    inits = set(comparison_table(read_jobs(comparison))["init"])
    assert inits == {"after simclr", "after simclr on synthetic images"}
    (tmp_path / "two" / "simclr" / "run.log").unlink()
    inits = set(comparison_table(read_jobs(comparison))["init"])
    assert inits == {"after simclr (one/simclr)", "after simclr (two/simclr)"}


def test_weights_of_torchvision_are_an_init(comparison):
    change(comparison / "0" / "config.yaml", **{"backbone.weights": "imagenet"})
    assert "imagenet weights" in set(comparison_table(read_jobs(comparison))["init"])


def test_a_single_repeat_has_no_interval(comparison):
    jobs = [job for job in read_jobs(comparison) if job.overrides["seed"] == "0"]
    first, second = summary_sentences(comparison_table(jobs))
    assert first.endswith("from scratch: test accuracy 50.0%.")
    assert second == "After simclr: 60.0%, +10.0 points with one repeat."


def test_one_init_alone_is_not_compared(tmp_path, write_job):
    write_job(tmp_path, 0, ["checkpoint=null", "seed=0"], {"test/accuracy": 0.5})
    assert not write_comparison(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_jobs_without_predictions_are_not_compared(comparison):
    change(comparison / "2" / "config.yaml", callbacks={"predictions": None})
    assert not write_comparison(comparison)
