"""Sources whose images are arrays in memory."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fewlabels.core.errors import UserError
from fewlabels.data.image_store.arrays import array_source, official_source, torchvision_set
from fewlabels.data.image_store.decode import VERSION
from fewlabels.data.image_store.store import open_store

PATHS = [f"a/{number:04d}" for number in range(600)]


def load():
    return PATHS, (np.full((4, 4), number % 256, np.uint8) for number in range(600))


def test_arrays_are_stored_in_order(tmp_path):
    source = array_source("some", load, resize="pad", size=8, channels=3, stamp="x")
    opened = open_store(source, tmp_path)
    assert opened.paths == PATHS
    assert opened.images.shape == (600, 3, 8, 8)
    assert (opened.images == (np.arange(600) % 256)[:, None, None, None]).all()


def test_arrays_are_loaded_only_to_build_the_store(tmp_path):
    options = {"resize": "crop", "size": 4, "channels": 1, "stamp": "x"}
    open_store(array_source("some", load, **options), tmp_path)
    assert len(open_store(array_source("some", lambda: pytest.fail("loaded"), **options), tmp_path).images) == 600


def test_the_stamp_of_a_published_dataset_never_changes():
    module = SimpleNamespace(name="cifar10", resize="crop", size=32, channels=3)
    source = official_source(module, load)
    assert (source.name, source.stamp, source.shape) == ("cifar10", f"{VERSION} crop official", (3, 32, 32))
    assert not source.synthetic


@pytest.mark.parametrize(("download", "remedy"), [(False, r"Give data\.download=true"), (True, "Check the network")])
def test_missing_files_are_an_error_with_a_remedy(download, remedy):
    def dataset(**_):
        raise RuntimeError("Dataset not found")

    with pytest.raises(UserError, match=rf"data=some: no complete copy in data\.root=here .*not found.*{remedy}"):
        torchvision_set(dataset, "some", Path("here"), download=download, train=True)
