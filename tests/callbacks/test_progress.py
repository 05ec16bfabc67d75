import logging
from types import SimpleNamespace

import pytest

from fewlabels.callbacks.progress import Progress


def lines(caplog, epochs, metrics=None, *, first=True):
    callback = Progress()
    with caplog.at_level(logging.INFO, logger="fewlabels.callbacks.progress"):
        for epoch in range(epochs):
            trainer = SimpleNamespace(
                current_epoch=epoch, max_epochs=epochs, is_global_zero=first, callback_metrics=metrics or {}
            )
            callback.on_train_epoch_end(trainer, None)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(("epochs", "count"), [(1, 1), (7, 7), (40, 40), (200, 40), (203, 41)])
def test_there_are_some_forty_lines_and_the_last_epoch_has_one(epochs, count, caplog):
    said = lines(caplog, epochs)
    assert len(said) == count
    assert said[-1] == f"epoch {epochs}/{epochs}"


def test_a_line_names_what_was_measured(caplog):
    metrics = {"train/loss": 1.23456, "val/loss_chance": 2.0, "val/knn_accuracy": 0.5, "train/images_per_second": 99.6}
    assert lines(caplog, 1, metrics) == ["epoch 1/1  loss 1.235  chance 2.000  kNN 50.0%  samples/s 100"]


def test_only_the_first_process_speaks(caplog):
    assert lines(caplog, 3, first=False) == []
