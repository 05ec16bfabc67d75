"""Flowers: folder layouts, and when synthetic images are made."""

import os
from pathlib import Path

import pytest

from fewlabels.core.errors import UserError
from fewlabels.data.flowers import Flowers

URL = {"url": "https://example.org/x.tar"}


@pytest.mark.parametrize("inner", ["", "flowers", "flower_photos"])
def test_both_published_layouts_are_found(make_module, class_folders, tmp_path, inner):
    class_folders({"daisy": 9, "rose": 9}, root=f"root/{inner}")
    module = make_module(Flowers, root=str(tmp_path / "root"), **URL)
    assert module.classes == ["daisy", "rose"]
    assert not module.synthetic


def test_a_missing_folder_is_an_error_unless_it_is_the_default(make_module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"data\.root=nowhere does not exist.*data\.download=true"):
        make_module(Flowers, root="nowhere", **URL)
    with pytest.raises(UserError, match=r"data\.root=data/flowers does not exist"):
        make_module(Flowers, source="folder", **URL)
    (tmp_path / "data" / "flowers").mkdir(parents=True)
    with pytest.raises(UserError, match="contains no images"):
        make_module(Flowers, **URL)


@pytest.mark.images
@pytest.mark.subprocess
def test_the_real_images_are_read_completely(make_module):
    root = Path(os.environ["FEWLABELS_IMAGES"]) / "flowers"
    flowers = make_module(Flowers, root=str(root), size=32, channels=3, resize="crop", **URL)
    assert flowers.classes == ["daisy", "dandelion", "rose", "sunflower", "tulip"]
    assert len(flowers.paths) == 4317
