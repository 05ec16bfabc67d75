"""The figure of augmented views: which images, once per run, without side effects."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fewlabels.callbacks.preview_views import PreviewViews
from fewlabels.core.backbones import Backbone
from fewlabels.core.optim import OptimizerConfig
from fewlabels.methods.rotnet import RotNet
from fewlabels.methods.simclr import SimCLR
from fewlabels.methods.views import RandomViews


class Images(SimpleNamespace):
    """Images with one grey level each; records the rows that were read."""

    name, modality, synthetic, rows_read = "greys", "images", True, ()

    def indices(self, split):
        assert split == "train"
        return np.arange(self.count)

    def images(self, rows):
        self.rows_read = list(rows)
        return torch.from_numpy(np.asarray(rows)).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, self.channels, 8, 8)


def make_method(kind, channels):
    backbone = Backbone(nn.Flatten(), channels=channels, size=8, mean=[0.5], std=[0.5])
    shared = {"views": RandomViews(), "backbone": backbone, "optimizer": OptimizerConfig(name="sgd", lr=1.0), "seed": 0}
    if kind == "rotnet":
        return RotNet(**shared)
    return SimCLR(temperature=0.5, head={"layers": 1, "hidden": 2, "outputs": 2}, **shared)


def make_trainer(folder, count=30, channels=3, *, rank_zero=True):
    data = Images(count=count, channels=channels)
    return SimpleNamespace(
        is_global_zero=rank_zero, datamodule=data, default_root_dir=str(folder), loggers=[], global_step=0
    )


@pytest.mark.parametrize(("kind", "channels"), [("simclr", 3), ("simclr", 1), ("rotnet", 3)])
def test_views_are_drawn_once(kind, channels, tmp_path):
    trainer, callback = make_trainer(tmp_path, channels=channels), PreviewViews(images=4)
    callback.on_train_epoch_end(trainer, make_method(kind, channels))
    path = tmp_path / "figures" / "views.png"
    with Image.open(path) as image:
        assert image.format == "PNG"
    assert trainer.datamodule.rows_read == [0, 7, 14, 21]  # evenly spaced over the split
    path.unlink()
    callback.on_train_epoch_end(trainer, make_method(kind, channels))
    assert not path.exists()


def test_of_few_images_all_are_shown(tmp_path):
    trainer = make_trainer(tmp_path, count=3)
    PreviewViews(images=8).on_train_epoch_end(trainer, make_method("simclr", 3))
    assert trainer.datamodule.rows_read == [0, 1, 2]


def test_the_global_generator_is_not_changed(tmp_path):
    before = torch.get_rng_state()
    method = make_method("simclr", 3)
    torch.set_rng_state(before)
    PreviewViews().on_train_epoch_end(make_trainer(tmp_path), method)
    assert torch.equal(torch.get_rng_state(), before)


def test_resumed_runs_and_other_ranks_draw_nothing(tmp_path):
    callback, resumed = PreviewViews(), PreviewViews()
    callback.on_train_epoch_end(make_trainer(tmp_path / "rank", rank_zero=False), None)
    callback.done = True
    resumed.load_state_dict(callback.state_dict())
    resumed.on_train_epoch_end(make_trainer(tmp_path / "resumed"), None)
    assert list(tmp_path.iterdir()) == []
