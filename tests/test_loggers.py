import csv
import os

import pytest

import offline
from fewlabels.loggers import MetricsCSV, finish_loggers, log_checkpoint


def read(path):
    with path.open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


@pytest.fixture(name="log")
def three_rows(tmp_path):
    log = MetricsCSV(str(tmp_path))
    log.log_metrics({"train/loss": 2.5}, step=10)
    log.log_metrics({"val/loss": 2.25, "epoch": 0}, step=10)
    log.log_metrics({"train/loss": 1.5}, step=20)
    log.log_metrics({"lr": 0.5})
    log.save()
    return log


def test_one_row_per_step_and_one_column_per_metric(log):
    assert log.path.name == "metrics.csv"
    assert read(log.path) == [
        {"step": 0, "lr": 0.5},
        {"step": 10, "train/loss": 2.5, "val/loss": 2.25, "epoch": 0},
        {"step": 20, "train/loss": 1.5},
    ]
    assert log.path.read_text().splitlines()[0] == "step,epoch,lr,train/loss,val/loss"


def test_a_later_value_of_a_step_replaces_the_earlier(log):
    log.log_metrics({"train/loss": 9.0}, step=20)
    log.finalize("success")
    assert read(log.path)[-1] == {"step": 20, "train/loss": 9.0}


def test_the_file_is_replaced_whole(log, monkeypatch):
    before, inode = log.path.read_text(), log.path.stat().st_ino
    log.rows[30] = {"step": 30, "train/loss": object}
    monkeypatch.setattr(csv.DictWriter, "writerows", _fail)
    with pytest.raises(OSError, match="disk full"):
        log.save()
    assert log.path.read_text() == before
    monkeypatch.undo()
    held = log.path.open()
    log.save()
    assert held.read() == before  # whoever reads it goes on reading what was there
    held.close()
    assert log.path.stat().st_ino != inode
    assert os.listdir(log.path.parent) == ["metrics.csv"]  # noqa: PTH208


def _fail(*_):
    raise OSError("disk full")


@pytest.mark.parametrize(("step", "left"), [(0, []), (10, [0]), (11, [0, 10]), (20, [0, 10]), (99, [0, 10, 20])])
def test_a_resumed_run_keeps_earlier_steps_and_drops_later_ones(log, step, left):
    again = MetricsCSV(str(log.path.parent))
    again.resume(step)
    again.log_metrics({"train/loss": 0.5, "new": 1.0}, step=100)
    again.save()
    kept = [row for row in read_rows(log) if row["step"] in left]
    assert read(log.path) == [*kept, {"step": 100, "train/loss": 0.5, "new": 1.0}]


def read_rows(log):
    return [{k: float(v) for k, v in log.rows[step].items()} for step in sorted(log.rows)]


def test_a_run_without_a_file_resumes_with_nothing(tmp_path):
    log = MetricsCSV(str(tmp_path))
    log.resume(5)
    assert log.rows == {}


def test_a_failed_job_still_writes_its_metrics(tmp_path):
    log = MetricsCSV(str(tmp_path))
    log.log_metrics({"train/loss": 1.0}, step=1)
    finish_loggers([log], exit_code=1)
    assert read(log.path) == [{"step": 1, "train/loss": 1.0}]


def test_a_checkpoint_goes_along_as_an_artifact(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "last.ckpt"
    file.write_bytes(b"weights")
    run = wandb.init(dir=tmp_path, mode="offline", settings=wandb.Settings(silent=True, console="off"))
    log_checkpoint(run, file)
    run.finish()
    (written,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    held = [record.request.log_artifact.artifact for record in offline.records(written) if record.HasField("request")]
    held += [record.artifact for record in offline.records(written) if record.HasField("artifact")]
    assert [(each.name, each.type) for each in held if each.name] == [(f"network-{run.id}", "model")]
