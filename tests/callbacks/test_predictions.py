"""labels.txt, predictions.csv and the confusion matrix."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from fewlabels.callbacks.predictions import SavePredictions
from fewlabels.probing.classification_metrics import Predictions

CLASSES = ["ant", "bee"]


def make_trainer(folder, *, rank_zero=True):
    data = SimpleNamespace(
        paths=["ant/0.png", "bee/1.png", "ant/2.png", "bee/\udcff.png"], synthetic=True,
        labelled=lambda: np.array([0, 3]),
    )  # fmt: skip
    return SimpleNamespace(
        datamodule=data, default_root_dir=str(folder), is_global_zero=rank_zero, loggers=[], global_step=0
    )


def make_classifier():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    predictions = Predictions(logits, torch.tensor([0, 1, 0]), torch.tensor([0, 1, 2]))
    return SimpleNamespace(classes=CLASSES, predictions=predictions)


def test_labels_txt_lists_the_labelled_images(tmp_path):
    SavePredictions().on_train_start(make_trainer(tmp_path), None)
    assert (tmp_path / "labels.txt").read_bytes() == b"ant/0.png\nbee/\xff.png\n"


def test_predictions_csv_has_one_row_per_test_image(tmp_path):
    SavePredictions().on_test_end(make_trainer(tmp_path), make_classifier())
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert list(table) == ["path", "class", "predicted", "confidence"]
    assert table["path"].tolist() == ["ant/0.png", "bee/1.png", "ant/2.png"]
    assert table["class"].tolist() == ["ant", "bee", "ant"]
    assert table["predicted"].tolist() == ["ant", "bee", "bee"]
    assert np.allclose(table["confidence"], [1 / (1 + np.exp(-gap)) for gap in (2, 1, 3)], atol=1e-4)
    assert (tmp_path / "figures" / "confusion.png").is_file()


@pytest.mark.parametrize("name", ["$$", "_x", "<b>\\frac", "\u6d6e"])
def test_any_class_name_is_drawn(tmp_path, name):
    classifier = make_classifier()
    classifier.classes = ["ant", name]
    SavePredictions().on_test_end(make_trainer(tmp_path), classifier)
    assert pd.read_csv(tmp_path / "predictions.csv")["predicted"].tolist() == ["ant", name, name]
    assert (tmp_path / "figures" / "confusion.png").is_file()


def test_a_figure_that_fails_costs_no_predictions(tmp_path, monkeypatch, caplog):
    def fail(*_, **__):
        raise ValueError("no such colour")

    monkeypatch.setattr("fewlabels.callbacks.predictions.confusion_figure", fail)
    SavePredictions().on_test_end(make_trainer(tmp_path), make_classifier())
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == 3
    assert "confusion.png could not be drawn" in caplog.text


def test_other_ranks_and_methods_without_predictions_write_nothing(tmp_path):
    classifier = make_classifier()
    SavePredictions().on_train_start(make_trainer(tmp_path, rank_zero=False), None)
    SavePredictions().on_test_end(make_trainer(tmp_path, rank_zero=False), classifier)
    classifier.predictions = None
    SavePredictions().on_test_end(make_trainer(tmp_path), classifier)
    assert list(tmp_path.iterdir()) == []
