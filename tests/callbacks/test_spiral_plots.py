"""Figures of points, and the rank correlation of their embedding with the position on the curve."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule

from fewlabels.callbacks.spiral_plots import SpiralPlots
from fewlabels.data.spirals import Spirals


class Embedder(LightningModule):
    """Embeds by a function of the points, and records what is logged."""

    def __init__(self, embed):
        super().__init__()
        self.embed, self.logged = embed, {}

    def log(self, name, value, **_):
        self.logged[name] = value


def make_trainer(folder):
    data = Spirals(n_points=120, noise=0.0, turns=0.5, batch_size=16, seed=0, val_fraction=0.2, test_fraction=0.3)
    data.setup()
    return SimpleNamespace(
        datamodule=data,
        is_global_zero=True,
        default_root_dir=str(folder),
        loggers=[],
        global_step=0,
        sanity_checking=False,
    )


def test_three_figures_are_drawn_after_training(tmp_path):
    SpiralPlots().on_train_end(make_trainer(tmp_path), Embedder(lambda x: x[:, :1]))
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"embedding.png", "graph.png", "pairs.png"}


@pytest.mark.parametrize("sign", [1, -1])
def test_spearman_does_not_depend_on_the_direction(sign, tmp_path):
    trainer = make_trainer(tmp_path)
    data = trainer.datamodule
    position = dict(zip(map(tuple, data.points("test").tolist()), data.position("test").tolist(), strict=True))
    module = Embedder(lambda x: sign * torch.tensor([[position[tuple(point)] ** 3] for point in x.tolist()]))
    SpiralPlots().on_test_epoch_end(trainer, module)
    assert module.logged == {"test/spearman": pytest.approx(1)}


def test_spearman_is_the_correlation_of_the_ranks(tmp_path):
    trainer, module = make_trainer(tmp_path), Embedder(lambda x: x[:, :1])
    SpiralPlots().on_test_epoch_end(trainer, module)
    x, position = trainer.datamodule.points("test")[:, 0], trainer.datamodule.position("test")
    ranks = [np.argsort(np.argsort(values)) for values in (x, position)]
    assert module.logged["test/spearman"] == pytest.approx(abs(np.corrcoef(*ranks)[0, 1]))


def test_a_two_dimensional_embedding_has_no_spearman(tmp_path):
    module = Embedder(lambda x: x)
    SpiralPlots().on_test_epoch_end(make_trainer(tmp_path), module)
    assert module.logged == {}


def test_sweeps_compare_the_order_of_validation_points(tmp_path):
    """Unlike the loss, it does not depend on the scale of the embedding; equal embeddings have no order."""
    trainer = make_trainer(tmp_path)
    data = trainer.datamodule
    position = dict(zip(map(tuple, data.points("val").tolist()), data.position("val").tolist(), strict=True))
    module = Embedder(lambda x: 1e-3 * torch.tensor([[position[tuple(point)]] for point in x.tolist()]))
    SpiralPlots().on_validation_epoch_end(trainer, module)
    assert module.logged == {"val/spearman": pytest.approx(1)}
    collapsed = Embedder(lambda x: torch.ones(len(x), 1))
    SpiralPlots().on_validation_epoch_end(trainer, collapsed)
    assert collapsed.logged == {}
