"""A short SimCLR training on synthetic images."""

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from fewlabels.core.backbones import Backbone
from fewlabels.core.optim import OptimizerConfig
from fewlabels.data.plankton import Plankton
from fewlabels.methods.simclr import SimCLR
from fewlabels.methods.views import RandomViews


@pytest.fixture(scope="session")
def image_cache(tmp_path_factory):
    """A folder for the synthetic images, so that they are drawn once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def fit(tmp_path, image_cache):
    """A function that trains for one step per epoch, and returns the trainer and the method's final state."""

    def run(*callbacks, epochs=2, collapse=False):
        torch.manual_seed(0)
        body = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 7 * 7, 16)
        )
        if collapse:
            body[-1].register_forward_hook(lambda module, inputs, output: torch.ones_like(output))
        method = SimCLR(
            backbone=Backbone(body, channels=1, size=32, mean=[0.5], std=[0.25]),
            optimizer=OptimizerConfig(name="sgd", lr=0.01), seed=0, views=RandomViews(), temperature=0.2,
            head={"layers": 1, "hidden": 8, "outputs": 8, "batch_norm": False},
        )  # fmt: skip
        data = Plankton(
            root=None, source="synthetic", size=32, channels=1, batch_size=32, seed=0, val_fraction=0.2,
            test_fraction=0.1, mean=[0.5], std=[0.25], cache_dir=str(image_cache), url="", archive_bytes=None,
        )  # fmt: skip
        trainer = Trainer(
            accelerator="cpu", devices=1, max_epochs=epochs, logger=False, enable_checkpointing=False,
            num_sanity_val_steps=0, enable_progress_bar=False, enable_model_summary=False, limit_train_batches=1,
            use_distributed_sampler=False, default_root_dir=str(tmp_path), callbacks=list(callbacks),
        )  # fmt: skip
        trainer.fit(method, data)
        return trainer, method.state_dict()

    return run
