"""Supervised methods on a small linear network and nine images of three classes."""

import torch
from torch import nn

from fewlabels.core.backbones import Backbone
from fewlabels.core.batch import Batch
from fewlabels.core.optim import OptimizerConfig
from fewlabels.methods.views import RandomViews

SIZE, CLASSES = 16, ["ant", "bee", "cat"]
IDENTITY = {"scale": [1, 1], "ratio": [1, 1], "horizontal_flip": 0, "jitter": 0, "grey": 0, "blur": 0}


def make_method(kind, **options):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 8))
    backbone = Backbone(body, channels=1, size=SIZE, mean=[0.5], std=[0.25])
    shared = {"backbone": backbone, "optimizer": OptimizerConfig(name="sgd", lr=0.1), "seed": 0}
    method = kind(views=RandomViews(**IDENTITY), **shared, **options)
    method.set_classes(CLASSES, [4, 4, 4])
    return method.eval()


def make_batch(count=9):
    x = torch.randint(0, 256, (count, 1, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    return Batch(x, torch.arange(count) % 3, torch.arange(count))


def step(method):
    metrics = method.step(make_batch(), torch.Generator().manual_seed(0))
    return {name: value.item() for name, value in metrics.items()}
