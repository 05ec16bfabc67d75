"""CIFAR-10 from torchvision's files."""

import pickle

import numpy as np
import pytest
import torchvision

from fewlabels.core.errors import UserError
from fewlabels.data.cifar10 import Cifar10


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """CIFAR-10's files with 20 images each; their md5 is not checked."""
    folder = tmp_path / "cifar" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    classes = ["plane", "car", *(f"class{number}" for number in range(8))]
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        data = np.repeat(np.arange(20, dtype=np.uint8)[:, None], 3072, axis=1)
        data[:, -1] = sum(name.encode()) % 256  # no image is a copy of one in another batch
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": [number % 10 for number in range(20)]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": classes}))
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
    return folder


@pytest.mark.parametrize(("size", "channels"), [(32, 3), (16, 1)])
def test_the_official_test_split_is_kept(make_module, cifar, size, channels):
    module = make_module(Cifar10, root=str(cifar.parent), size=size, channels=channels, test_fraction=0.0)
    assert len(module.paths) == 120
    assert len(module.classes) == 10
    assert sorted({module.paths[row].split("/")[1][:4] for row in module.indices("test")}) == ["test"]
    assert len(module.indices("test")) == 20
    assert 5 < len(module.indices("val")) < 40
    assert module.images([0, 1, 119])[:, 0, 0, 0].tolist() == [0, 1, 19]
    assert module.paths[1] == "car/train-00001"


def test_nothing_is_downloaded_without_permission(make_module, tmp_path):
    with pytest.raises(UserError, match=r"data=cifar10: no complete copy.*data\.download=true"):
        make_module(Cifar10, root=str(tmp_path / "empty"), test_fraction=0.0)
