from collections import OrderedDict

import pytest
import torch

from fewlabels.callbacks.checkpoints import AtomicCheckpointIO


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "new" / "folder" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"w": torch.arange(3)}, "epoch": 2}, str(path))
    loaded = AtomicCheckpointIO().load_checkpoint(path)
    assert torch.equal(loaded["state_dict"]["w"], torch.arange(3))
    assert loaded["epoch"] == 2
    assert names(path.parent) == ["last.ckpt"]


class BreaksOff:
    """Something that fails when it's written, as a full disk does: after much else has been written."""

    def __reduce__(self):
        raise OSError("disk full")


def test_a_save_that_fails_leaves_the_old_file_whole(tmp_path):
    io, path = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    io.save_checkpoint({"epoch": 1}, path)
    before = path.read_bytes()
    with pytest.raises(OSError, match="disk full"):
        io.save_checkpoint({"w": torch.zeros(1000), "bad": BreaksOff()}, path)
    assert path.read_bytes() == before
    assert io.load_checkpoint(path)["epoch"] == 1
    assert names(tmp_path) == ["last.ckpt"]


def test_a_first_save_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="disk full"):
        AtomicCheckpointIO().save_checkpoint({"bad": BreaksOff()}, tmp_path / "last.ckpt")
    assert names(tmp_path) == []


def test_until_it_is_whole_the_old_file_stands_there(tmp_path):
    io, path = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    io.save_checkpoint({"epoch": 1}, path)

    class Looks:
        def __reduce__(self):
            assert io.load_checkpoint(path)["epoch"] == 1
            return OrderedDict, ()

    io.save_checkpoint({"epoch": Looks()}, path)
    assert io.load_checkpoint(path)["epoch"] == OrderedDict()
