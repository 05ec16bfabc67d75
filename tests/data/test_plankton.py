"""Plankton: folder layouts, the default folder, and when synthetic images are made."""

import os
from pathlib import Path

import numpy as np
import pytest

from fewlabels.core.errors import UserError
from fewlabels.data.plankton import Plankton

URL = {"url": "https://example.org/x.tar"}


@pytest.mark.parametrize("inner", ["", "imgs", "FlowCamNet/imgs"])
def test_the_layouts_of_flowcamnet_are_found(make_module, class_folders, tmp_path, inner):
    class_folders({"a": 9, "b": 9}, root=f"root/{inner}")
    (tmp_path / "root" / "taxa.csv.gz").touch()
    module = make_module(Plankton, root=str(tmp_path / "root"), **URL)
    assert module.classes == ["a", "b"]
    assert not module.synthetic


def test_a_missing_folder_is_an_error_unless_it_is_the_default(make_module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"data\.root=nowhere does not exist.*data\.download=true"):
        make_module(Plankton, root="nowhere", **URL)
    with pytest.raises(UserError, match=r"data\.root=data/plankton does not exist"):
        make_module(Plankton, source="folder", **URL)
    (tmp_path / "data" / "plankton").mkdir(parents=True)
    with pytest.raises(UserError, match="contains no images"):
        make_module(Plankton, **URL)


def test_the_default_folder_is_used_if_it_exists(make_module, class_folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    class_folders({"a": 9}, root="data/plankton")
    assert make_module(Plankton, **URL).classes == ["a"]


@pytest.mark.images
@pytest.mark.slow
@pytest.mark.subprocess
def test_the_real_images_are_read_completely(make_module):
    root = Path(os.environ["FEWLABELS_IMAGES"]) / "plankton"
    plankton = make_module(Plankton, root=str(root), size=32, unseen=3, min_class_size=50, **URL)
    assert len(plankton.paths) == 22_882
    assert len(plankton.unseen_classes) == 3
    assert plankton.images(np.arange(0, 22_882, 100)).float().mean() > 150  # a light background
