"""Typed access to the data module, and embeddings of its samples."""

from types import SimpleNamespace

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import nn

from fewlabels.callbacks.access import data_of, embed_samples
from fewlabels.core.batch import Batch


class Doubler(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Dropout()

    def embed(self, x):
        return 2 * self.layer(x)


class Data:
    def loader(self, split_or_indices):
        rows = torch.as_tensor(split_or_indices)
        return [Batch(part[:, None].float(), part % 2, part) for part in rows.split(2)]


def test_rows_are_embedded_in_order_in_eval_mode():
    trainer, module = SimpleNamespace(datamodule=Data()), Doubler().train()
    assert data_of(trainer) is trainer.datamodule
    embeddings = embed_samples(trainer, module, np.array([4, 1, 3]))
    assert embeddings.vectors.tolist() == [[8], [2], [6]]
    assert embeddings.labels.tolist() == [0, 1, 1]
    assert embeddings.index.tolist() == [4, 1, 3]
    assert module.layer.training
