"""Sweeps: what became of every job, the summary of all, and going on where one was stopped."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from fewlabels.errors import UserError
from fewlabels.fairness import check_labels
from fewlabels.jobs import FAILED, FINISHED, UNFINISHED, read_jobs, varied
from fewlabels.starts import SCRATCH, as_table, gains, sentences, write_comparison
from fewlabels.sweeps import write_sweep

ROOT = Path(__file__).parents[1]
POINTS = ("-m", "logger=csv", "trainer=cpu", "data.passes=4", "trainer.max_epochs=2", "hydra.sweep.dir=sweep")
TINY = ("data.source=synthetic", "data.size=32", "data.batch_size=8", "backbone=mobilenet_v3_small", "logger=csv",
        "trainer=cpu", "trainer.enable_progress_bar=false")  # fmt: skip
GRID = ("method.optimizer.lr=0.003,0.01", "data.batch_size=75,150,9000")


@pytest.fixture
def pretrain(tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def run(*overrides, code=0):
        command = [sys.executable, str(ROOT / "src" / "pretrain.py"), *POINTS, *overrides]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    return run


def test_a_sweep_is_summed_up_and_goes_on_without_doing_anything_twice(pretrain, tmp_path):
    first = pretrain(*GRID, code=1)  # two of six jobs ask for more than there is
    sweep = tmp_path / "sweep"
    table = pd.read_csv(sweep / "sweep.csv").set_index("job")
    assert table["state"].tolist() == [FINISHED, FINISHED, FAILED] * 2
    assert table.loc[2, "error"].startswith("data.batch_size=9000 on 1 device(s) needs 9000 images")
    assert {path.name for path in (sweep / "figures").iterdir()} == {"heat.png", "curves.png"}
    page = (sweep / "sweep.html").read_text()
    assert "Of 6 jobs that have begun: 4 finished, 2 failed." in page
    assert all(f'<a href="{job}">{job}</a>' in page for job in range(6))
    assert first.stdout.count("Trained 2 epochs") == 4

    (sweep / "4" / "results.json").write_text("")  # cut off while it was written
    before = {job: (sweep / str(job) / "metrics.csv").stat().st_mtime_ns for job in (0, 1, 3)}
    again = pretrain(*GRID, code=1)
    assert again.stdout.count("Finished already, and not run again") == 3
    assert re.search(r"Going on from .*sweep/4/checkpoints/last.ckpt", again.stdout)
    assert before == {job: (sweep / str(job) / "metrics.csv").stat().st_mtime_ns for job in (0, 1, 3)}
    pd.testing.assert_frame_equal(
        table.drop(columns=["seconds", "train/images_per_second"]),
        pd.read_csv(sweep / "sweep.csv")
        .set_index("job")[table.columns]
        .drop(columns=["seconds", "train/images_per_second"]),
    )


def test_another_sweep_does_not_take_its_place(pretrain, tmp_path):
    pretrain("seed=0,1")
    table, jobs = (tmp_path / "sweep" / "sweep.csv").read_bytes(), read_jobs(tmp_path / "sweep")
    done = pretrain("seed=0,2", code=1)
    assert "holds a job of another sweep" in done.stderr
    assert "Traceback" not in done.stderr
    assert read_jobs(tmp_path / "sweep") == jobs
    assert (tmp_path / "sweep" / "sweep.csv").read_bytes() == table
    assert pretrain("seed=0,1").stdout.count("Finished already") == 2


def test_a_sweep_does_not_go_on_when_the_same_command_has_come_to_mean_something_else(pretrain, tmp_path):
    """Such as after a default in conf/ was changed: two recipes would be compared as one."""
    pretrain("seed=0,1")
    file = tmp_path / "sweep" / "1" / "config.yaml"
    saved = OmegaConf.load(file)
    rate = saved.method.optimizer.lr
    saved.method.optimizer.lr, saved.trainer.accelerator, saved.data.root = 0.125, "gpu", "elsewhere"
    OmegaConf.save(saved, file)
    done = pretrain("seed=0,1", code=1)
    assert f"was begun with method.optimizer.lr=0.125; the same command line now means method.optimizer.lr={rate}." in (
        done.stderr
    )
    assert [job.state for job in read_jobs(tmp_path / "sweep")] == [FINISHED] * 2


def test_a_search_keeps_the_best(pretrain, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    pretrain("search=optuna", "hydra.sweeper.n_trials=2", "objective=val/linear_accuracy")
    best = OmegaConf.load(tmp_path / "sweep" / "optimization_results.yaml")
    values = [job.results["val/linear_accuracy"] for job in read_jobs(tmp_path / "sweep")]
    assert best.best_value == pytest.approx(max(values))


def test_a_stopped_sweep_has_its_summary(tmp_path):
    command = [sys.executable, str(ROOT / "src" / "pretrain.py"), *POINTS, "trainer.max_epochs=1,3000"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        if line.startswith("epoch ") and "/3000" in line:
            process.send_signal(signal.SIGTERM)
            break
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert [job.state for job in read_jobs(tmp_path / "sweep")] == [FINISHED, UNFINISHED]
    assert "1 finished" in (tmp_path / "sweep" / "sweep.html").read_text()
    assert (tmp_path / "sweep" / "1" / "checkpoints" / "last.ckpt").is_file()


def job(sweep, number, overrides, results=None, error=""):
    folder = sweep / str(number)
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps({"overrides": overrides, "error": error}))
    if results:
        (folder / "results.json").write_text(json.dumps(results))
    return folder


def test_jobs_are_in_the_order_of_their_numbers_and_know_what_varies(tmp_path):
    for number in range(12):
        job(tmp_path, number, ["method=simclr", f"seed={number}"], {"val/knn_accuracy": 0.5} if number else None)
    found = read_jobs(tmp_path)
    assert [int(each.overrides["seed"]) for each in found] == list(range(12))
    assert varied(found) == ["seed"]
    assert found[0].state == UNFINISHED


def test_the_heat_map_holds_means_over_seeds_and_leaves_out_what_is_missing(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        "fewlabels.figures.sweeps.heat_figure", lambda values, **k: drawn.update(k, values=values) or Fake()
    )
    for number, (t, b, s, value) in enumerate(
        [(0.1, 64, 0, 0.2), (0.1, 64, 1, 0.4), (0.5, 128, 0, 0.6), (0.5, 64, 0, None)]
    ):
        results = {"val/knn_accuracy": value} if value else None
        job(tmp_path, number, [f"method.temperature={t}", f"data.batch_size={b}", f"seed={s}"], results)
    write_sweep(tmp_path, "val/knn_accuracy")
    assert drawn["rows"] == ("method.temperature", ["0.1", "0.5"])
    assert drawn["columns"] == ("data.batch_size", ["64", "128"])
    np.testing.assert_allclose(drawn["values"], [[0.3, np.nan], [np.nan, 0.6]])


class Fake:
    def savefig(self, file, **_):
        if not hasattr(file, "write"):
            Path(file).touch()


def test_a_start_whose_checkpoint_is_gone_fails_alone_and_is_made_up_for_when_it_is_back(tmp_path):
    """In the middle of a comparison: the other start is finished, and never done again."""
    command = [sys.executable, str(ROOT / "src" / "pretrain.py"), "method=rotnet", "data=flowers", *TINY,
               "trainer.max_epochs=1", "trainer.limit_train_batches=1", "hydra.run.dir=before"]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "FEWLABELS_CACHE": str(tmp_path / "cache")}
    call = lambda command: subprocess.run(  # noqa: E731
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
    )
    assert call(command).returncode == 0
    kept, gone = tmp_path / "before" / "checkpoints" / "last.ckpt", tmp_path / "gone"
    kept.rename(gone)
    command = [sys.executable, str(ROOT / "src" / "finetune.py"), "-m", "data=flowers", *TINY, "trainer.max_epochs=1",
               "data.steps_per_epoch=1", "checkpoint=null,before", "hydra.sweep.dir=sweep"]  # fmt: skip
    done = call(command)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    scratch, after = read_jobs(tmp_path / "sweep")
    assert (scratch.state, after.state) == (FINISHED, FAILED)
    assert re.match(r"checkpoint=.*before: there is no file .*last\.ckpt\. Give a run directory", after.error)

    gone.rename(kept)
    again = call(command)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("Finished already, and not run again") == 1
    assert [job.state for job in read_jobs(tmp_path / "sweep")] == [FINISHED] * 2
    table = pd.read_csv(tmp_path / "sweep" / "starts.csv")
    assert table["start"].tolist() == [SCRATCH, "after rotnet"]

    (tmp_path / "sweep" / "1" / "results.json").write_text('{"test/accu')  # damaged
    assert call(command).returncode == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "sweep" / "starts.csv"), table)

    torch.save({"other": "weights"}, kept)
    refused = call(command)
    assert refused.returncode == 1
    assert "checkpoint=before holds other weights than when" in refused.stderr
    assert [job.state for job in read_jobs(tmp_path / "sweep")] == [FINISHED] * 2


@pytest.fixture
def comparison(tmp_path):
    """Two starts, three draws, one fraction; after pretraining 10, 11 and 12 of 20 points better."""
    sweep = tmp_path / "sweep"
    (tmp_path / "before").mkdir()
    OmegaConf.save({"method": {"called": "simclr"}}, tmp_path / "before" / "config.yaml")
    for seed in range(3):
        for place, checkpoint in enumerate(("null", str(tmp_path / "before"))):
            accuracy = 0.5 + place * (0.10 + 0.01 * seed) + 0.05 * seed
            results = {
                f"test/{name}": accuracy for name in ("accuracy", "balanced_accuracy", "macro_f1", "calibration_error")
            }
            folder = job(
                sweep, 2 * seed + place, [f"checkpoint={checkpoint}", f"seed={seed}"], results | {"seconds": 1.0}
            )
            OmegaConf.save({
                "checkpoint": None if checkpoint == "null" else checkpoint, "seed": seed,
                "data": {"label_fraction": 0.1, "called": "flowers", "root": None, "size": 8, "steps_per_epoch": 2,
                         "batch_size": 4},
                "backbone": {"name": "resnet18"}, "trainer": {"max_epochs": 2},
            }, folder / "config.yaml")  # fmt: skip
            (folder / "labels.txt").write_text(f"a/{seed}.png\nb/{seed}.png\n")
            (folder / "predictions.csv").write_text("path,class,told,confidence\na/9.png,a,a,0.9\nb/9.png,b,a,0.6\n")
            (folder / "metrics.csv").write_text("step,val/balanced_accuracy\n1,0.4\n3,0.5\n")
    return sweep


def test_gains_are_means_of_paired_differences(comparison):
    table = as_table(read_jobs(comparison))
    assert table["start"].unique().tolist() == [SCRATCH, "after simclr"]
    mean, half, draws = gains(table, 0.1)["after simclr"]
    assert (mean, draws) == (pytest.approx(11.0), 3)
    assert half == pytest.approx(4.302653 * 1.0 / 3**0.5, abs=1e-4)  # Student's t for 2 degrees, deviation 1 point
    first, second = sentences(table)
    assert first.startswith("With 2 labels (10% of the training images) from scratch 55.0 ± ")
    assert "+11.0 ± 2.5 points over 3 draws of labels, pair by pair: more." in second


def test_the_report_is_written_with_its_figures(comparison):
    assert write_comparison(comparison)
    assert len(pd.read_csv(comparison / "starts.csv")) == 6
    assert {path.stem for path in (comparison / "figures").iterdir()} == {"starts", "learning", "confusions"}
    assert "After simclr: 66.0" in (comparison / "report.html").read_text()


def test_starts_that_were_taught_with_other_labels_are_not_compared(comparison):
    (comparison / "3" / "labels.txt").write_text("a/7.png\n")
    with pytest.raises(UserError, match=r"labels\.txt differ, though both are of data\.label_fraction=0\.1 seed=1"):
        check_labels(as_table(read_jobs(comparison)))


def test_no_gain_is_told_while_the_first_start_has_none(comparison):
    """As in the middle of a sweep; another start must not take the first one's place."""
    for number in (0, 2, 4):
        file = comparison / str(number) / "config.yaml"
        config = OmegaConf.load(file)
        config.data.label_fraction = 0.05
        OmegaConf.save(config, file)
    table = as_table(read_jobs(comparison))
    assert gains(table, 0.1) == gains(table, 0.05) == {}
    assert len(sentences(table)) == 1


DAMAGES = {
    "labels.txt is gone": ("labels.txt", None, r"3 has no labels\.txt, so there is nothing to compare: remove"),
    "predictions.csv is cut off": ("predictions.csv", "path,class,told,confidence\na/9.png,a,a,0.9\n",
                                   r"are of 2 and 1 test images, not of the same"),
    "config.yaml is none": ("config.yaml", "a: [b", r"3/config\.yaml is damaged .*Remove .*3 to have this job done"),
    "job.json is none": ("job.json", "{", r"3/job\.json is damaged .*Remove .*3 to have this job done again"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_named_and_nothing_is_left_out(comparison, damage):
    name, text, message = DAMAGES[damage]
    file = comparison / "3" / name
    file.write_text(text) if text else file.unlink()
    with pytest.raises(UserError, match=message):
        write_comparison(comparison)


def test_one_start_that_is_there_twice_is_refused(comparison, pretrain):
    for number in (0, 1):
        folder = shutil.copytree(comparison / str(number), comparison / str(6 + number))
        assert folder.is_dir()
    with pytest.raises(UserError, match=r"0 and .*6 are the same: from scratch, data\.label_fraction=0\.1 seed=0"):
        check_labels(as_table(read_jobs(comparison)))
    assert "seed=1,2,1 names 1 twice" in pretrain("seed=1,2,1", code=1).stderr


def test_settings_that_vary_besides_make_starts_of_their_own(comparison):
    for number, rate in enumerate((0.1, 0.3, 0.1, 0.3, 0.1, 0.3)):
        file = comparison / str(number) / "job.json"
        said = json.loads(file.read_text())
        file.write_text(json.dumps(said | {"overrides": [*said["overrides"], f"method.backbone_lr={rate}"]}))
    names = set(as_table(read_jobs(comparison))["start"])
    assert names == {"from scratch backbone_lr=0.1", "after simclr backbone_lr=0.3"}
    assert write_comparison(comparison)


def test_two_pretrainings_of_one_method_are_told_apart_by_where_they_lie(comparison, tmp_path):
    for place in ("one", "two"):
        (tmp_path / place / "simclr").mkdir(parents=True)
        OmegaConf.save({"method": {"called": "simclr"}}, tmp_path / place / "simclr" / "config.yaml")
    (tmp_path / "two" / "simclr" / "run.log").write_text("SYNTHETIC DATA: …")
    for number, place in enumerate(("one", "two", "one", "two", "one", "two")):
        file = comparison / str(number) / "config.yaml"
        config = OmegaConf.load(file)
        config.checkpoint = str(tmp_path / place / "simclr")
        OmegaConf.save(config, file)
    assert set(as_table(read_jobs(comparison))["start"]) == {"after simclr", "after simclr on synthetic images"}
    (tmp_path / "two" / "simclr" / "run.log").unlink()
    assert set(as_table(read_jobs(comparison))["start"]) == {"after simclr (one/simclr)", "after simclr (two/simclr)"}


def test_a_single_draw_has_no_interval(comparison):
    found = [job for job in read_jobs(comparison) if job.overrides["seed"] == "0"]
    first, second = sentences(as_table(found))
    assert first.endswith("from scratch 50.0 % of the test images are told rightly.")
    assert second == "After simclr: 60.0 %, +10.0 points with one draw of labels."


def test_one_start_alone_is_no_comparison(tmp_path):
    job(tmp_path, 0, ["checkpoint=null", "seed=0"], {"test/accuracy": 0.5})
    assert not write_comparison(tmp_path)
