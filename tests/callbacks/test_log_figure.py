"""Figures: the PNG in the run directory, and what each kind of logger receives."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fewlabels.callbacks import log_figure as module
from fewlabels.callbacks.log_figure import log_figure
from fewlabels.figures.names import shown_names
from fewlabels.figures.style import new_figure


def make_figure():
    figure = new_figure(3, 2)
    figure.subplots().plot([0, 1], [0, 1])
    return figure


def make_trainer(folder, *loggers):
    return SimpleNamespace(default_root_dir=str(folder), loggers=list(loggers), global_step=7)


class Recorder:
    """Records the calls of any method."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))


class ImageLogger(Recorder):
    """A logger such as WandbLogger."""

    def log_image(self, key, images, step):
        self.calls.append(("log_image", key, images, step))


class TensorBoard:
    """A logger whose `experiment` is a SummaryWriter."""

    def __init__(self):
        self.experiment = Recorder()


class MLFlow(TensorBoard):
    """A logger whose `experiment` is an MlflowClient."""

    run_id = "run 1"


class Scalars:
    """A logger that accepts no images."""


@pytest.fixture(autouse=True)
def _logger_classes(monkeypatch):
    """The packages of these loggers are optional, so their classes are replaced."""
    monkeypatch.setattr(module, "MLFlowLogger", MLFlow)
    monkeypatch.setattr(module, "TensorBoardLogger", type("TensorBoardLogger", (TensorBoard,), {}))


def test_a_figure_is_saved_as_png(tmp_path):
    path = log_figure(make_trainer(tmp_path, Scalars()), "line", make_figure)
    assert path == tmp_path / "figures" / "line.png"
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size == (450, 300)
        assert len(np.unique(np.asarray(image.convert("L")))) > 10


def test_a_figure_of_the_same_name_is_replaced(tmp_path):
    trainer, taller = make_trainer(tmp_path), new_figure(3, 4)
    assert log_figure(trainer, "line", make_figure) == log_figure(trainer, "line", lambda: taller)
    with Image.open(tmp_path / "figures" / "line.png") as image:
        assert image.size == (450, 600)


def test_image_loggers_receive_the_file(tmp_path):
    logger = ImageLogger()
    path = log_figure(make_trainer(tmp_path, Scalars(), logger), "line", make_figure)
    assert logger.calls == [("log_image", "figures/line", [str(path)], 7)]


def test_tensorboard_receives_the_figure(tmp_path):
    logger, figure = module.TensorBoardLogger(), make_figure()
    log_figure(make_trainer(tmp_path, logger), "line", lambda: figure)
    assert logger.experiment.calls == [("add_figure", ("figures/line", figure, 7), {"close": False})]


def test_mlflow_receives_the_file_as_an_artifact(tmp_path):
    logger = MLFlow()
    path = log_figure(make_trainer(tmp_path, logger), "line", make_figure)
    assert logger.experiment.calls == [("log_artifact", ("run 1", str(path), "figures"), {})]


@pytest.mark.parametrize("fails_at", ["drawing", "saving"])
def test_a_figure_that_fails_is_reported_and_ends_nothing(tmp_path, caplog, fails_at):
    def draw():
        if fails_at == "drawing":
            raise ValueError("no such colour")
        figure = make_figure()
        figure.savefig = lambda *_, **__: (_ for _ in ()).throw(ValueError("no such colour"))
        return figure

    logger = ImageLogger()
    assert log_figure(make_trainer(tmp_path, logger), "line", draw) is None
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "line.png could not be drawn" in record.message
    assert "no such colour" in record.exc_text
    assert logger.calls == []


def test_numbers_that_stand_for_names_are_explained_in_the_log(tmp_path, caplog):
    caplog.set_level("INFO")

    def draw():
        figure = make_figure()
        shown_names(figure, ["\u6d6e"])
        return figure

    log_figure(make_trainer(tmp_path), "line", draw)
    assert caplog.messages[0].endswith("line.png that no font here has: [1] = \u6d6e")
