"""The summary of a sweep: table, heat map, learning curves and page."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra.types import RunMode
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from fewlabels.core.errors import UserError
from fewlabels.sweeps.callbacks import SweepSummary
from fewlabels.sweeps.jobs import FINISHED, UNFINISHED, read_jobs
from fewlabels.sweeps.summary import (
    is_synthetic,
    summary_figures,
    summary_table,
    write_summary,
)

KNN = "val/knn_accuracy"


def test_the_table_has_a_row_per_job_with_its_settings_and_results(tmp_path, write_job):
    write_job(tmp_path, 0, ["seed=0", "method=simclr"], {KNN: 0.5, "epochs": 3})
    write_job(tmp_path, 1, ["seed=1", "method=simclr"], error="data.size=1: too small\nmore")
    jobs = read_jobs(tmp_path)
    table = summary_table(jobs, ["seed"], KNN)
    assert table.columns.tolist() == ["job", "seed", "state", KNN, "epochs", "error"]
    assert table["state"].tolist() == ["finished", "failed"]
    assert table["error"].tolist() == ["", "data.size=1: too small"]


class FakeFigure:
    def savefig(self, file, **_):
        if not hasattr(file, "write"):
            Path(file).touch()


def test_the_heat_map_has_means_over_seeds_and_gaps_for_missing_jobs(tmp_path, write_job, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        "fewlabels.figures.heatmaps.sweep_heatmap",
        lambda values, **options: drawn.update(options, values=values) or FakeFigure(),
    )
    for number, (temperature, batch, seed, value) in enumerate(
        [(0.1, 64, 0, 0.2), (0.1, 64, 1, 0.4), (0.5, 128, 0, 0.6), (0.5, 64, 0, None)]
    ):
        overrides = [f"method.temperature={temperature}", f"data.batch_size={batch}", f"seed={seed}"]
        write_job(tmp_path, number, overrides, {KNN: value} if value else None)
    assert write_summary(tmp_path, KNN)
    assert drawn["rows"] == ("method.temperature", ["0.1", "0.5"])
    assert drawn["columns"] == ("data.batch_size", ["64", "128"])
    np.testing.assert_allclose(drawn["values"], [[0.3, np.nan], [np.nan, 0.6]])


def test_a_figure_that_cannot_be_drawn_costs_neither_the_page_nor_the_table(tmp_path, write_job, monkeypatch, caplog):
    class BrokenFigure(Figure):
        def savefig(self, *_, **__):
            raise ValueError("no such <colour>")

    for name in ("heatmaps.sweep_heatmap", "learning_curves.curves_figure"):
        monkeypatch.setattr(f"fewlabels.figures.{name}", lambda *_, **__: BrokenFigure())
    for number, (temperature, batch) in enumerate([(0.1, 64), (0.5, 128)]):
        write_job(tmp_path, number, [f"method.temperature={temperature}", f"data.batch_size={batch}"], {KNN: 0.5})
    assert write_summary(tmp_path, KNN)
    assert "no such &lt;colour&gt;" in (tmp_path / "sweep.html").read_text()
    assert len(pd.read_csv(tmp_path / "sweep.csv")) == 2
    assert "could not be drawn" in caplog.text


def test_settings_are_sorted_as_numbers_and_one_setting_has_curves_only(tmp_path, write_job):
    for number, rate in enumerate((0.1, 0.02, 0.003)):
        folder = write_job(tmp_path, number, [f"method.optimizer.lr={rate}"], {KNN: 0.5})
        (folder / "metrics.csv").write_text(f"step,{KNN}\n1,0.4\n2,\n3,0.5\n")
    jobs = read_jobs(tmp_path)
    assert set(summary_figures(jobs, ["method.optimizer.lr"], KNN)) == {"curves"}
    assert write_summary(tmp_path, KNN)
    assert len(pd.read_csv(tmp_path / "sweep.csv")) == 3
    page = (tmp_path / "sweep.html").read_text()
    assert "3 jobs started: 3 finished." in page
    assert f"No clear winner in {KNN} among lr=0.1 (0.5), lr=0.02 (0.5), lr=0.003 (0.5): one seed each has no" in page


def test_the_first_metric_that_jobs_have_is_compared(tmp_path, write_job):
    write_job(tmp_path, 0, ["a=1"], {"val/spearman": 0.999, KNN: 0.5})
    write_job(tmp_path, 1, ["a=2"], {"val/spearman": 0.2, KNN: 0.9})
    SweepSummary(["val/spearman", KNN]).write(tmp_path)
    page = (tmp_path / "sweep.html").read_text()
    assert "No clear winner in val/spearman among a=1 (0.999), a=2 (0.2): one seed each has no interval" in page
    assert pd.read_csv(tmp_path / "sweep.csv").columns[3] == "val/spearman"


def test_a_directory_without_jobs_gets_no_summary(tmp_path):
    assert not write_summary(tmp_path, KNN)
    assert not list(tmp_path.iterdir())


def test_synthetic_images_are_recognised_by_the_log(tmp_path):
    assert not is_synthetic(tmp_path)
    (tmp_path / "run.log").write_text("INFO: epoch 1")
    assert not is_synthetic(tmp_path)
    (tmp_path / "run.log").write_text("INFO: SYNTHETIC DATA: …")
    assert is_synthetic(tmp_path)


def hydra_config(sweep, mode):
    return OmegaConf.create({"hydra": {"mode": mode, "sweep": {"dir": str(sweep)}}})


def test_the_callback_writes_after_every_job_of_a_sweep(tmp_path, write_job, capsys):
    write_job(tmp_path, 0, ["seed=0"], {KNN: 0.5})
    SweepSummary(KNN).on_job_end(hydra_config(tmp_path, RunMode.RUN), None)
    assert not (tmp_path / "sweep.html").exists()
    SweepSummary(KNN).on_job_end(hydra_config(tmp_path, RunMode.MULTIRUN), None)
    assert (tmp_path / "sweep.html").is_file()
    SweepSummary(KNN).on_multirun_end(hydra_config(tmp_path, RunMode.MULTIRUN))
    assert capsys.readouterr().out == f"{tmp_path / 'sweep.html'}\n"


@pytest.mark.parametrize(("error", "message"), [
    (UserError("job.json is damaged"), "job.json is damaged"), (KeyError("x"), "The summary of the sweep could not"),
])  # fmt: skip
def test_a_summary_that_fails_does_not_end_the_sweep(tmp_path, monkeypatch, caplog, error, message):
    def fail(*_):
        raise error

    monkeypatch.setattr(SweepSummary, "write", fail)
    with caplog.at_level(logging.ERROR, "fewlabels"):
        SweepSummary(KNN).on_job_end(hydra_config(tmp_path, RunMode.MULTIRUN), None)
    assert message in caplog.text
    assert ("Traceback" in caplog.text) == isinstance(error, KeyError)


@pytest.mark.slow
@pytest.mark.subprocess
@pytest.mark.timeout(600)
def test_a_stopped_sweep_has_its_summary_and_a_checkpoint(start_pretrain, tmp_path):
    process = start_pretrain(
        "-m", "logger=csv", "trainer=cpu", "data.passes=4", "trainer.max_epochs=1,3000", "hydra.sweep.dir=sweep"
    )
    for line in process.stdout:
        if line.startswith("epoch ") and "/3000" in line:
            process.terminate()
            break
    process.stdout.read()
    assert process.wait(timeout=60) == 143
    assert [job.state for job in read_jobs(tmp_path / "sweep")] == [FINISHED, UNFINISHED]
    assert "1 finished" in (tmp_path / "sweep" / "sweep.html").read_text()
    assert (tmp_path / "sweep" / "1" / "checkpoints" / "last.ckpt").is_file()
