"""Progress: the log lines, and the bar's status."""

import logging
import sys
from types import SimpleNamespace

import pytest
import torch

from fewlabels.callbacks.progress import Progress
from fewlabels.callbacks.throughput import Throughput


def log_lines(caplog, epochs, metrics=None, *, rank_zero=True):
    callback = Progress()
    with caplog.at_level(logging.INFO, logger="fewlabels.callbacks.progress"):
        for epoch in range(epochs):
            trainer = SimpleNamespace(
                current_epoch=epoch, max_epochs=epochs, is_global_zero=rank_zero, callback_metrics=metrics or {}
            )
            callback.on_train_epoch_end(trainer, None)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(("epochs", "count"), [(1, 1), (7, 7), (40, 40), (200, 40), (203, 41)])
def test_about_forty_epochs_and_the_last_are_logged(epochs, count, caplog):
    lines = log_lines(caplog, epochs)
    assert len(lines) == count
    assert lines[-1] == f"epoch {epochs}/{epochs}"


def test_a_line_lists_the_metrics(caplog):
    metrics = {
        "train/images_per_second": 159.6, "val/linear_accuracy": 0.51, "val/knn_accuracy": torch.tensor(0.482),
        "train/contrastive_top1": 0.123, "val/loss_chance": 5.54, "val/loss": 4.1, "train/loss": 4.2104,
    }  # fmt: skip
    assert log_lines(caplog, 1, metrics) == [
        "epoch 1/1  train loss 4.210  val loss 4.100 (chance level 5.540)  contrastive top-1 12.3%  val kNN 48.2%  "
        "val linear probe 51.0%  160 samples/s"
    ]


def test_probes_are_shown_when_they_were_measured(caplog):
    lines = log_lines(caplog, 3, {"val/knn_accuracy": 0.482, "val/loss": 4.1})
    assert ["val kNN 48.2%" in line for line in lines] == [True, False, False]
    assert all("val loss 4.100" in line for line in lines)


def test_only_rank_zero_logs(caplog):
    assert log_lines(caplog, 3, rank_zero=False) == []


def test_the_bar_shows_epoch_loss_and_speed_in_a_terminal_only(monkeypatch):
    speed = Throughput()
    speed.images_per_second = 99.6
    trainer = SimpleNamespace(
        is_global_zero=True, num_training_batches=10, max_epochs=4, current_epoch=2, callbacks=[speed]
    )
    callback, outputs = Progress(), {"loss": torch.tensor(1.5), "loss_chance": torch.tensor(2.0)}
    callback.on_train_start(trainer, None)
    assert callback.bar is None
    with monkeypatch.context() as patch:
        patch.setattr(sys.stderr, "isatty", lambda: True)
        patch.setattr(logging.getLogger(), "handlers", [handler := logging.StreamHandler(stdout := sys.stdout)])
        callback.on_train_start(trainer, None)
        assert handler.stream is sys.stdout is not stdout, "log lines go above the bar"
        callback.on_train_batch_end(trainer, None, outputs, None, 4)
        task = callback.bar.tasks[0]
        callback.teardown(trainer, None, "fit")
        assert handler.stream is stdout
    assert (task.completed, task.total) == (25, 40)
    assert task.fields == {"status": "loss 1.500 (chance level 2.000)  100 samples/s", "epoch": "3/4"}
    assert callback.bar is None
