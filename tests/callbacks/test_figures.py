import numpy as np
from lightning.pytorch import Trainer
from PIL import Image

from fewlabels.callbacks.figures import log_figure
from fewlabels.figures.style import new_figure
from fewlabels.loggers import MetricsCSV


class Pictures(MetricsCSV):
    """A logger that takes pictures."""

    def __init__(self, directory):
        super().__init__(directory)
        self.taken = []

    def log_image(self, key, images, step):
        self.taken.append((key, images, step))


def figure():
    drawn = new_figure(3, 2)
    drawn.subplots().plot([0, 1], [0, 1])
    return drawn


def test_a_figure_becomes_a_png_and_goes_to_the_loggers_that_take_pictures(tmp_path):
    loggers = [MetricsCSV(str(tmp_path)), Pictures(str(tmp_path))]
    trainer = Trainer(
        accelerator="cpu", logger=loggers, default_root_dir=str(tmp_path), enable_checkpointing=False,
        enable_progress_bar=False,
    )  # fmt: skip
    path = log_figure(trainer, "line", figure())
    assert path == tmp_path / "figures" / "line.png"
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size == (450, 300)
        assert len(np.unique(np.asarray(image.convert("L")))) > 10
    assert loggers[1].taken == [("figures/line", [str(path)], 0)]
    assert log_figure(trainer, "line", figure()) == path  # again, over it
