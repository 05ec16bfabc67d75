"""What a network was trained on, and what may therefore not be called unseen or be tested."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from fewlabels.core.errors import UserError
from fewlabels.data.splits.training_record import TrainingRecord, hold_out_test

CHECKPOINT = Path("run/checkpoints/last.ckpt")


@pytest.fixture
def root(class_folders):
    return str(class_folders(dict.fromkeys("abcd", 30)))


def test_a_record_holds_the_digests_of_train_and_val(make_module, root):
    data = make_module(root=root, unseen=["d"])
    record = TrainingRecord.of(data, labelled=False)
    used = np.concatenate([data.indices("train"), data.indices("val")])
    assert record.digests.tolist() == sorted(data.digests[used].tolist())
    assert (record.samples, record.seen, record.unseen) == (len(data.indices("train")), ["a", "b", "c"], ["d"])
    assert record.includes(data).nonzero()[0].tolist() == sorted(used.tolist())


def test_a_record_survives_a_checkpoint(make_module, root, tmp_path):
    record = TrainingRecord.of(make_module(root=root), labelled=False)
    torch.save(record.state(), tmp_path / "x.ckpt")
    again = TrainingRecord.read(torch.load(tmp_path / "x.ckpt", weights_only=True))
    assert np.array_equal(again.digests, record.digests)
    assert (again.samples, again.seen, again.unseen) == (record.samples, record.seen, record.unseen)


def test_a_finetuning_records_its_labelled_images_and_those_of_its_start(make_module, root):
    start = TrainingRecord.of(make_module(root=root, seen=["a", "b"]), labelled=False)
    data = make_module(root=root, seen=["c", "d"], label_fraction=0.2)
    record = TrainingRecord.of(data, labelled=True, initial=start)
    own = data.digests[np.concatenate([data.labelled(), data.indices("val")])]
    assert record.digests.tolist() == sorted({*own.tolist(), *start.digests.tolist()})
    assert (record.samples, record.seen, record.unseen) == (len(data.labelled()), ["a", "b", "c", "d"], [])


def test_classes_that_were_trained_on_are_not_unseen(make_module, root):
    record = TrainingRecord.of(make_module(root=root, unseen=["c", "d"]), labelled=False)
    record.check_unseen(make_module(root=root, unseen=["c"]))
    with pytest.raises(UserError, match=r"data\.unseen includes a, .*names: .*Give data\.unseen=\[c,d\]"):
        record.check_unseen(make_module(root=root, unseen=["a", "c"]))


def test_classes_of_images_that_were_trained_on_are_not_unseen(make_module, tree):
    files = {f"{n:03d}.png": n for n in range(60)}
    record = TrainingRecord.of(make_module(root=str(tree(files))), labelled=False)
    (root := tree({}, root="sorted")).mkdir()
    for number, name in enumerate(files):
        (root / "xyz"[number % 3]).mkdir(exist_ok=True)
        (root / "xyz"[number % 3] / name).write_bytes((root.parent / "images" / name).read_bytes())
    with pytest.raises(UserError, match=r"includes x, y, but .* of the 40 images of these classes.*unseen=null"):
        record.check_unseen(make_module(root=str(root), unseen=["x", "y"]))
    record.check_unseen(make_module(root=str(root)))


def test_images_that_were_trained_on_are_left_out_of_the_test(make_module, root, caplog):
    caplog.set_level(logging.INFO, "fewlabels")
    record = TrainingRecord.of(make_module(root=root), labelled=False)
    data = make_module(root=root, test_fraction=0.6)
    before, clean = len(data.indices("test")), make_module(root=root).indices("test")
    hold_out_test(data, record, CHECKPOINT)
    assert data.indices("test").tolist() == clean.tolist()
    left_out = before - len(clean)
    assert left_out > 20
    assert data.notices[-1].startswith(f"{left_out} images of the test split are left out, because {CHECKPOINT}")
    assert data.notices[-1] in caplog.text
    rows = np.concatenate([batch.index.numpy() for batch in data.test_dataloader()])
    assert sorted(rows) == clean.tolist()
    hold_out_test(data, record, CHECKPOINT)  # nothing more
    assert sum("left out" in notice for notice in data.notices) == 1


def test_a_test_split_that_was_trained_on_completely_is_refused(make_module, root):
    record = TrainingRecord.of(make_module(root=root, test_fraction=0.0), labelled=False)
    data = make_module(root=root)
    with pytest.raises(UserError, match=r"was trained on all \d+ images of the test split.*Give the data\.root"):
        hold_out_test(data, record, CHECKPOINT)
    hold_out_test(empty := make_module(root=root, test_fraction=0.0), record, CHECKPOINT)
    assert not len(empty.indices("test"))


def test_an_unknown_record_is_said(make_module, root, caplog):
    data = make_module(root=root)
    hold_out_test(data, None, CHECKPOINT)
    assert data.notices[-1].startswith(f"Not checked: whether {CHECKPOINT} was trained on some of the test images")
    assert "Not checked" in caplog.text
