"""The jobs of a sweep: which have finished, which run again, and which directories are refused."""

import json
import re
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from fewlabels.sweeps.init_comparison import SCRATCH
from fewlabels.sweeps.jobs import (
    FAILED,
    FINISHED,
    UNFINISHED,
    JobConflictError,
    begin_job,
    in_sweep,
    objective,
    read_config,
    read_jobs,
    record_failure,
    varied_keys,
)
from fewlabels.training.config_checks import ConfigError

POINTS = ("-m", "logger=csv", "trainer=cpu", "data.passes=4", "trainer.max_epochs=2", "hydra.sweep.dir=sweep",
          "callbacks.spiral_plots=null")  # fmt: skip
TINY = ("data.source=synthetic", "data.size=32", "data.batch_size=8", "backbone=mobilenet_v3_small", "logger=csv",
        "trainer=cpu", "trainer.enable_progress_bar=false")  # fmt: skip
GRID = ("method.optimizer.lr=0.003,0.01", "data.batch_size=75,150,9000")


def test_jobs_are_in_the_order_of_their_numbers_and_know_what_varies(tmp_path, write_job):
    for number in range(12):
        results = {"val/knn_accuracy": 0.5} if number else None
        write_job(tmp_path, number, ["method=simclr", f"seed={number}", "+extra.key=1"], results)
    jobs = read_jobs(tmp_path)
    assert [int(job.overrides["seed"]) for job in jobs] == list(range(12))
    assert varied_keys(jobs) == ["seed"]
    assert jobs[0].state == UNFINISHED
    assert jobs[1].overrides["extra.key"] == "1"


def test_values_are_shown_without_the_quotes_that_hydra_needs(tmp_path, write_job):
    write_job(tmp_path, 0, ["checkpoint='runs/a=1'", 'data.root="O\'Brien, x"'])
    (job,) = read_jobs(tmp_path)
    assert job.overrides == {"checkpoint": "runs/a=1", "data.root": "O'Brien, x"}


def test_a_job_with_results_has_finished_whatever_it_recorded_before(tmp_path, write_job):
    write_job(tmp_path, 0, ["seed=0"], error="out of memory")
    write_job(tmp_path, 1, ["seed=1"], {"epochs": 1}, error="out of memory")
    (write_job(tmp_path, 2, ["seed=2"]) / "results.json").write_text('{"epo')
    assert [(job.state, job.error) for job in read_jobs(tmp_path)] == [
        (FAILED, "out of memory"), (FINISHED, ""), (UNFINISHED, ""),
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [
    ("job.json", "{"), ("job.json", "[]"), ("job.json", '{"error": ""}'), ("config.yaml", "a: [b"),
    ("config.yaml", "seed: 1"), ("config.yaml", "- 1"),
])  # fmt: skip
def test_damaged_files_are_named_with_the_remedy(tmp_path, write_job, name, text):
    folder = write_job(tmp_path, 3, ["seed=0"])
    (folder / name).write_text(text)
    with pytest.raises(JobConflictError, match=rf"3/{re.escape(name)} is damaged .*Remove .*3 to run this job again"):
        read_jobs(tmp_path) if name == "job.json" else read_config(folder)


@pytest.fixture
def hydra_job(monkeypatch):
    """`hydra_job(*overrides)` makes this process a job of a sweep with these overrides."""

    def start(*overrides):
        job = SimpleNamespace(mode=RunMode.MULTIRUN, overrides=SimpleNamespace(task=list(overrides)))
        monkeypatch.setattr(HydraConfig, "initialized", lambda: True)
        monkeypatch.setattr(HydraConfig, "get", lambda: job)

    return start


def config(**changes):
    return OmegaConf.create({"seed": 0, "resume": None, "data": {"size": 8}, "trainer": {"max_epochs": 2}} | changes)


def test_a_new_job_records_its_overrides(tmp_path, hydra_job):
    hydra_job("seed=0")
    assert in_sweep()
    assert not begin_job(config(), tmp_path)
    assert json.loads((tmp_path / "job.json").read_text()) == {"overrides": ["seed=0"], "error": ""}
    record_failure(tmp_path, "out of memory")
    assert json.loads((tmp_path / "job.json").read_text())["error"] == "out of memory"


def test_a_job_that_was_stopped_is_resumed_and_a_finished_one_is_skipped(tmp_path, hydra_job):
    hydra_job("seed=0", "logger=csv")
    cfg = config()
    begin_job(cfg, tmp_path)
    assert cfg.resume is None
    OmegaConf.save(cfg, tmp_path / "config.yaml")
    hydra_job("seed=0", "logger=wandb")  # loggers may change
    assert not begin_job(cfg, tmp_path)
    assert cfg.resume == str(tmp_path)
    (tmp_path / "results.json").write_text('{"epochs": 2}')
    assert begin_job(config(), tmp_path)


def test_a_directory_of_another_job_is_refused(tmp_path, hydra_job):
    hydra_job("seed=0")
    begin_job(config(), tmp_path)
    hydra_job("seed=1")
    with pytest.raises(JobConflictError, match=r"holds a job of another sweep \(seed=0; this one is seed=1\)"):
        begin_job(config(seed=1), tmp_path)


def test_a_job_whose_configuration_has_changed_is_refused(tmp_path, hydra_job):
    hydra_job("seed=0")
    begin_job(config(), tmp_path)
    OmegaConf.save(config(), tmp_path / "config.yaml")
    paths = config(data={"size": 8, "root": "elsewhere"}, trainer={"max_epochs": 2, "accelerator": "gpu"})
    assert not begin_job(paths, tmp_path)
    with pytest.raises(JobConflictError, match=r"started with data\.size=8; .* now means data\.size=9, and 1 more"):
        begin_job(config(data={"size": 9}, trainer={"max_epochs": 3}), tmp_path)


def test_a_job_whose_checkpoint_has_other_weights_is_refused(tmp_path, hydra_job):
    hydra_job("checkpoint=x.ckpt")
    checkpoint, folder = tmp_path / "x.ckpt", tmp_path / "job"
    checkpoint.write_bytes(b"weights")
    folder.mkdir()
    cfg = config(checkpoint=str(checkpoint))
    begin_job(cfg, folder)
    OmegaConf.save(cfg, folder / "config.yaml")
    assert not begin_job(cfg, folder)
    checkpoint.write_bytes(b"others")
    with pytest.raises(JobConflictError, match=r"x\.ckpt holds other weights than when"):
        begin_job(cfg, folder)


def test_the_objective_is_a_metric_of_the_results(tmp_path):
    (tmp_path / "results.json").write_text('{"val/loss": 0.5}')
    assert objective(config(), tmp_path) is None
    assert objective(config(objective="val/loss"), tmp_path) == 0.5
    with pytest.raises(ConfigError, match=r"objective=val/los is not in .*results\.json: val/loss"):
        objective(config(objective="val/los"), tmp_path)


@pytest.mark.slow
@pytest.mark.subprocess
@pytest.mark.timeout(600)
def test_a_sweep_is_resumed_and_runs_no_job_twice(pretrain, tmp_path):
    first = pretrain(*POINTS, *GRID, code=1)  # two of six jobs have a batch that is too large
    sweep = tmp_path / "sweep"
    table = pd.read_csv(sweep / "sweep.csv").set_index("job")
    assert table["state"].tolist() == [FINISHED, FINISHED, FAILED] * 2
    assert table.loc[2, "error"].startswith("data.batch_size=9000 on 1 device(s) needs 9000 samples")
    assert {path.name for path in (sweep / "figures").iterdir()} == {"heat.png", "curves.png"}
    page = (sweep / "sweep.html").read_text()
    assert "6 jobs started: 4 finished, 2 failed." in page
    assert all(f'<a href="{job}">{job}</a>' in page for job in range(6))
    assert first.stdout.count("Trained 2 epochs") == 4

    (sweep / "4" / "results.json").write_text("")  # as if the job had been killed while it was written
    before = {job: (sweep / str(job) / "metrics.csv").stat().st_mtime_ns for job in (0, 1, 3)}
    again = pretrain(*POINTS, *GRID, code=1)
    assert again.stdout.count("Already finished, skipped") == 3
    assert re.search(r"Resuming from .*sweep/4/checkpoints/last.ckpt", again.stdout)
    assert before == {job: (sweep / str(job) / "metrics.csv").stat().st_mtime_ns for job in (0, 1, 3)}
    resumed = pd.read_csv(sweep / "sweep.csv").set_index("job")[table.columns]
    timings = ["seconds", "train/images_per_second"]
    pd.testing.assert_frame_equal(table.drop(columns=timings), resumed.drop(columns=timings))


@pytest.mark.slow
@pytest.mark.subprocess
@pytest.mark.timeout(600)
def test_another_sweep_or_a_changed_configuration_does_not_take_over_a_directory(pretrain, tmp_path):
    pretrain(*POINTS, "seed=0,1")
    sweep = tmp_path / "sweep"
    table, jobs = (sweep / "sweep.csv").read_bytes(), read_jobs(sweep)
    done = pretrain(*POINTS, "seed=0,2", code=1)
    assert "holds a job of another sweep" in done.stderr
    assert "Traceback" not in done.stderr
    assert read_jobs(sweep) == jobs
    assert (sweep / "sweep.csv").read_bytes() == table
    assert pretrain(*POINTS, "seed=0,1").stdout.count("Already finished, skipped") == 2

    saved = OmegaConf.load(sweep / "1" / "config.yaml")  # as if a default in conf/ had changed since
    rate = saved.method.optimizer.lr
    saved.method.optimizer.lr, saved.trainer.accelerator, saved.data.root = 0.125, "gpu", "elsewhere"
    OmegaConf.save(saved, sweep / "1" / "config.yaml")
    error = pretrain(*POINTS, "seed=0,1", code=1).stderr
    assert f"started with method.optimizer.lr=0.125; the same command line now means method.optimizer.lr={rate}." in (
        error
    )
    assert [job.state for job in read_jobs(sweep)] == [FINISHED] * 2


@pytest.mark.slow
@pytest.mark.subprocess
@pytest.mark.timeout(600)
def test_a_search_maximises_its_objective(pretrain, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    pretrain(*POINTS, "search=optuna", "hydra.sweeper.n_trials=2", "objective=val/linear_accuracy")
    best = OmegaConf.load(tmp_path / "sweep" / "optimization_results.yaml")
    values = [job.results["val/linear_accuracy"] for job in read_jobs(tmp_path / "sweep")]
    assert best.best_value == pytest.approx(max(values))


@pytest.mark.slow
@pytest.mark.subprocess
@pytest.mark.timeout(600)
def test_a_job_whose_checkpoint_is_missing_fails_alone_and_runs_when_it_is_back(script, tmp_path):
    """The job of the other init has finished, and never runs again."""
    script("pretrain", "method=rotnet", "data=flowers", *TINY, "trainer.max_epochs=1", "trainer.limit_train_batches=1",
           "hydra.run.dir=pretrained")  # fmt: skip
    kept, moved = tmp_path / "pretrained" / "checkpoints" / "last.ckpt", tmp_path / "moved"
    kept.rename(moved)

    def finetune(code=0):
        return script("finetune", "-m", "data=flowers", *TINY, "trainer.max_epochs=1", "data.steps_per_epoch=1",
                      "checkpoint=null,pretrained", "hydra.sweep.dir=sweep", code=code)  # fmt: skip

    done = finetune(code=1)
    assert "Traceback" not in done.stdout + done.stderr
    scratch, after = read_jobs(tmp_path / "sweep")
    assert (scratch.state, after.state) == (FINISHED, FAILED)
    assert re.match(r"checkpoint=.*pretrained: there is no file .*last\.ckpt\. Give a run directory", after.error)

    moved.rename(kept)
    assert finetune().stdout.count("Already finished, skipped") == 1
    assert [job.state for job in read_jobs(tmp_path / "sweep")] == [FINISHED] * 2
    table = pd.read_csv(tmp_path / "sweep" / "init_comparison.csv")
    assert table["init"].tolist() == [SCRATCH, "after rotnet"]

    (tmp_path / "sweep" / "1" / "results.json").write_text('{"test/accu')
    finetune()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "sweep" / "init_comparison.csv"), table)

    torch.save({"other": "weights"}, kept)
    assert "checkpoint=pretrained holds other weights than when" in finetune(code=1).stderr
    assert [job.state for job in read_jobs(tmp_path / "sweep")] == [FINISHED] * 2


def test_jobs_whose_directories_are_named_after_their_settings_are_found(tmp_path, write_job):
    for name in ("checkpoint=runs/a/b,seed=0", "checkpoint=null,seed=0"):  # of hydra.job.override_dirname
        write_job(tmp_path, name, name.split(","), {"epochs": 1})
    assert sorted(job.overrides["checkpoint"] for job in read_jobs(tmp_path)) == ["null", "runs/a/b"]
