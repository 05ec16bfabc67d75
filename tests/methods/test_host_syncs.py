"""A training step must not wait for a GPU: nothing reads a value from the device or copies a constant to it."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fewlabels.core.batch import Batch
from fewlabels.core.optim import OptimizerConfig
from fewlabels.methods.rotnet import RotNet
from fewlabels.methods.siamese import Siamese
from fewlabels.methods.simclr import SimCLR
from fewlabels.methods.softmax import Softmax
from fewlabels.methods.views import RandomViews
from tiny_network import tiny_network

SIZE = 16
WAITING = ("lift_fresh", "_local_scalar_dense", "nonzero", "masked_select", "_unique2", "_linalg_check_errors")
"""Operations that make the host wait for a GPU: tensors made of Python numbers, numbers made of tensors, and shapes or
checks that depend on values."""
METHODS = {
    "simclr": (SimCLR, {"temperature": 0.2, "head": {"layers": 2, "hidden": 8, "outputs": 4, "batch_norm": True}}),
    "siamese": (Siamese, {}),
    "rotnet": (RotNet, {"rotations": 4}),
    "softmax": (Softmax, {}),
}


class Operations(TorchDispatchMode):
    """Records the names of all operations."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function._schema.name.removeprefix("aten::"))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("degrees", [0.0, 180.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_training_step_does_not_wait_for_the_device(name, degrees, channels):
    build, options = METHODS[name]
    vertical, degrees = (0.0, 0.0) if name == "rotnet" else (0.5, degrees)
    views = RandomViews(degrees=degrees, vertical_flip=vertical)  # noise has a seed drawn on the CPU, as a number
    backbone = tiny_network(channels=channels, size=SIZE, mean=[0.5] * channels, std=[0.25] * channels, widths=(4, 8))
    method = build(
        views=views, backbone=backbone, optimizer=OptimizerConfig("sgd", lr=0.1), seed=0, size_schedule=[8, 16],
        **options,
    )  # fmt: skip
    method.set_classes(["a", "b"], [4, 4])
    x = torch.randint(0, 256, (8, channels, SIZE, SIZE), dtype=torch.uint8)
    batch = Batch(method.size_schedule.shrink(x, 0, 2), torch.arange(8) % 2, torch.arange(8))
    method.train().step(batch, torch.Generator())["loss"].backward()  # constants are made, and kept
    with Operations() as operations:
        method.step(batch, torch.Generator())["loss"].backward()
    assert len(operations.names) > 50
    assert [operation for operation in operations.names if operation in WAITING] == []


def test_what_waits_is_recorded():
    with Operations() as operations:
        torch.ones(2).new_tensor(3.0).item()
        torch.linalg.inv(torch.eye(2))
    assert {"lift_fresh", "_local_scalar_dense", "_linalg_check_errors"} <= {*operations.names}
