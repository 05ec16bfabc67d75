"""STL-10 from torchvision's files."""

import numpy as np
import pytest
import torchvision

from fewlabels.core.errors import UserError
from fewlabels.data.stl10 import Stl10


def test_pretraining_includes_the_unlabelled_images(make_module, tmp_path, monkeypatch):
    folder = tmp_path / "stl" / "stl10_binary"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 10), ("unlabeled", 30)):
        data = rng.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)  # column by column, as in the real files
        data.tofile(folder / f"{part}_X.bin")
        (1 + np.arange(count, dtype=np.uint8) % 10).tofile(folder / f"{part}_y.bin")
    (folder / "class_names.txt").write_text("\n".join(f"class{number}" for number in range(10)))
    monkeypatch.setattr(torchvision.datasets.stl10, "check_integrity", lambda *_: True)
    module = make_module(Stl10, root=str(folder.parent), size=96, channels=3, test_fraction=0.0, val_fraction=0.1)
    assert len(module.indices("test")) == 10
    assert (module.labels[module.indices("train")] == -1).sum() > 20
    assert (module.labels == -1).sum() == 30
    row = module.paths.index("unlabelled-000029")
    assert (module.images([row])[0].numpy() == data[29].transpose(0, 2, 1)).all()
    official = torchvision.datasets.STL10(str(folder.parent), "unlabeled").data[29]
    assert (module.images([row])[0].numpy() == official).all()


def test_nothing_is_downloaded_without_permission(make_module, tmp_path):
    with pytest.raises(UserError, match=r"data=stl10: no complete copy.*data\.download=true"):
        make_module(Stl10, root=str(tmp_path / "empty"), test_fraction=0.0)
