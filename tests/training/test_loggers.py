"""metrics.csv, and loggers whose packages are not installed."""

import csv
import logging
import os

import lightning.pytorch.loggers
import pytest

from fewlabels.cli.app import compose_config
from fewlabels.core.errors import UserError
from fewlabels.training.build import build_loggers
from fewlabels.training.loggers import MetricsCSV, silence_libraries, tensorboard_logger


def read(path):
    with path.open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


@pytest.fixture
def metrics(tmp_path):
    """Rows of steps 0, 10 and 20."""
    logger = MetricsCSV(str(tmp_path))
    logger.log_metrics({"train/loss": 2.5}, step=10)
    logger.log_metrics({"val/loss": 2.25, "epoch": 0}, step=10)
    logger.log_metrics({"train/loss": 1.5}, step=20)
    logger.log_metrics({"lr": 0.5})
    logger.save()
    return logger


def test_one_row_per_step_and_one_column_per_metric(metrics):
    assert metrics.path.name == "metrics.csv"
    assert read(metrics.path) == [
        {"step": 0, "lr": 0.5},
        {"step": 10, "train/loss": 2.5, "val/loss": 2.25, "epoch": 0},
        {"step": 20, "train/loss": 1.5},
    ]
    assert metrics.path.read_text().splitlines()[0] == "step,epoch,lr,train/loss,val/loss"


def test_a_later_value_of_a_step_replaces_the_earlier(metrics):
    metrics.log_metrics({"train/loss": 9.0}, step=20)
    metrics.finalize("success")
    assert read(metrics.path)[-1] == {"step": 20, "train/loss": 9.0}


def test_the_file_is_replaced_atomically(metrics, monkeypatch):
    before, inode = metrics.path.read_text(), metrics.path.stat().st_ino
    metrics.rows[30] = {"step": 30, "train/loss": object}
    monkeypatch.setattr(csv.DictWriter, "writerows", fail)
    with pytest.raises(OSError, match="disk full"):
        metrics.save()
    assert metrics.path.read_text() == before
    monkeypatch.undo()
    with metrics.path.open() as opened_before:
        metrics.save()
        assert opened_before.read() == before  # a reader that opened it keeps the old file
    assert metrics.path.stat().st_ino != inode
    assert os.listdir(metrics.path.parent) == ["metrics.csv"]  # noqa: PTH208


def fail(*_):
    raise OSError("disk full")


@pytest.mark.parametrize(("step", "kept"), [(0, []), (10, [0]), (11, [0, 10]), (20, [0, 10]), (99, [0, 10, 20])])
def test_a_resumed_run_keeps_earlier_steps_and_drops_later_ones(metrics, step, kept):
    resumed = MetricsCSV(str(metrics.path.parent))
    resumed.resume(step)
    resumed.log_metrics({"train/loss": 0.5, "new": 1.0}, step=100)
    resumed.save()
    rows = [{k: float(v) for k, v in metrics.rows[number].items()} for number in kept]
    assert read(metrics.path) == [*rows, {"step": 100, "train/loss": 0.5, "new": 1.0}]


def test_a_run_without_metrics_csv_resumes_without_rows(tmp_path):
    logger = MetricsCSV(str(tmp_path))
    logger.resume(5)
    assert logger.rows == {}


@pytest.mark.parametrize(("name", "used"), [("tensorboard", "TensorBoardLogger"), ("mlflow", "MLFlowLogger")])
def test_a_logger_whose_package_is_not_installed_is_named_with_its_remedy(tmp_path, monkeypatch, name, used):
    def not_installed(**_):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(lightning.pytorch.loggers, used, not_installed)
    with pytest.raises(UserError, match=f"logger={name}: .* is not installed. Run pip install {name}"):
        build_loggers(compose_config(f"logger={name}"), tmp_path)


def test_tensorboard_writes_into_the_run_directory(tmp_path):
    pytest.importorskip("tensorboard")
    logger = tensorboard_logger(directory=str(tmp_path), config={})
    logger.log_metrics({"val/loss": 1.0}, step=3)
    logger.finalize("success")
    assert any((tmp_path / "tensorboard").glob("events.*"))


def test_the_table_of_a_profiler_is_logged_though_other_notices_are_not(lightning_log_levels):
    silence_libraries()
    assert logging.getLogger("lightning.pytorch.profilers.profiler").isEnabledFor(logging.INFO)
    assert not logging.getLogger("lightning.pytorch.trainer").isEnabledFor(logging.INFO)
