"""Checkpoints: atomic writes, names of earlier versions, and `last.ckpt`."""

from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Timer

from fewlabels.callbacks.checkpointing import AtomicCheckpointIO, LastCheckpoint, drop_optimizer_state
from fewlabels.core.backbones import mlp
from fewlabels.core.errors import UserError
from fewlabels.core.optim import OptimizerConfig
from fewlabels.data.spirals import Spirals
from fewlabels.methods.base import Method


class Shrink(Method):
    def step(self, batch, generator):
        loss = self.backbone(batch.x + torch.rand(batch.x.shape, generator=generator)).square().mean()
        return {"loss": loss, "loss_chance": loss.new_tensor(1.0)}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_saved_checkpoint_can_be_loaded(tmp_path):
    path = tmp_path / "new" / "folder" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"w": torch.arange(3)}, "epoch": 2}, str(path))
    loaded = AtomicCheckpointIO().load_checkpoint(path)
    assert torch.equal(loaded["state_dict"]["w"], torch.arange(3))
    assert loaded["epoch"] == 2
    assert names(path.parent) == ["last.ckpt"]


class FullDisk:
    """Fails when it is written, after other entries have been written."""

    def __reduce__(self):
        raise OSError("disk full")


def test_a_failed_save_keeps_the_previous_checkpoint(tmp_path):
    io, path = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    io.save_checkpoint({"epoch": 1}, path)
    before = path.read_bytes()
    with pytest.raises(OSError, match="disk full"):
        io.save_checkpoint({"w": torch.zeros(1000), "bad": FullDisk()}, path)
    assert path.read_bytes() == before
    assert io.load_checkpoint(path)["epoch"] == 1
    assert names(tmp_path) == ["last.ckpt"]


def test_a_failed_first_save_leaves_no_file(tmp_path):
    with pytest.raises(OSError, match="disk full"):
        AtomicCheckpointIO().save_checkpoint({"bad": FullDisk()}, tmp_path / "last.ckpt")
    assert names(tmp_path) == []


def test_the_previous_checkpoint_is_readable_during_a_save(tmp_path):
    io, path = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    io.save_checkpoint({"epoch": 1}, path)

    class Reader:
        def __reduce__(self):
            assert io.load_checkpoint(path)["epoch"] == 1
            return OrderedDict, ()

    io.save_checkpoint({"epoch": Reader()}, path)
    assert io.load_checkpoint(path)["epoch"] == OrderedDict()


def test_callback_states_of_version_0_1_get_their_current_names(tmp_path):
    states = {"Speed": {"seconds": 7.0}, "ViewsFigure": {"done": True}, "OnlineProbes": {"baseline": {}}}
    torch.save({"callbacks": states, "epoch": 3}, tmp_path / "old.ckpt")
    loaded = AtomicCheckpointIO().load_checkpoint(tmp_path / "old.ckpt")
    assert loaded == {
        "callbacks": {
            "Throughput": {"seconds": 7.0}, "PreviewViews": {"done": True}, "OnlineProbes": {"baseline": {}},
        },
        "epoch": 3,
    }  # fmt: skip


@pytest.mark.parametrize(("every", "epochs", "expected"), [(1, 3, [0, 1, 2]), (2, 5, [1, 3, 4]), (10, 3, [2])])
def test_last_checkpoint_is_saved_every_n_epochs_and_after_the_last(every, epochs, expected, tmp_path):
    saved, callback = [], LastCheckpoint(every)
    for epoch in range(epochs):
        trainer = SimpleNamespace(
            current_epoch=epoch, max_epochs=epochs, max_steps=-1, global_step=epoch, should_stop=False,
            fast_dev_run=False, default_root_dir=str(tmp_path),
            save_checkpoint=lambda path, epoch=epoch: saved.append((epoch, path)),
        )  # fmt: skip
        callback.on_train_epoch_end(trainer, None)
    assert saved == [(epoch, tmp_path / "checkpoints" / "last.ckpt") for epoch in expected]


class Stop(Callback):
    """Ends the training in a batch, as the timer of trainer.max_time does."""

    def __init__(self, batch):
        self.batch, self.seen = batch, 0

    def on_train_batch_end(self, trainer, *_):
        self.seen += 1
        trainer.should_stop |= self.seen == self.batch


def train(folder, *callbacks, resume=None, **options):
    torch.manual_seed(0)
    method = Shrink(backbone=mlp(channels=2, hidden=[4], dim=3), seed=0,
                    optimizer=OptimizerConfig(name="adamw", lr=0.1, schedule="constant"))  # fmt: skip
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=3, logger=False, num_sanity_val_steps=0, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, default_root_dir=str(folder),
        callbacks=[LastCheckpoint(), *callbacks], plugins=[AtomicCheckpointIO()], **options,
    )  # fmt: skip
    data = Spirals(n_points=100, noise=0.05, turns=1, batch_size=16, seed=0, val_fraction=0.2, test_fraction=0.0)
    trainer.fit(method, data, ckpt_path=resume, weights_only=True)
    return trainer.global_step, method.state_dict()


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended.*")
@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.filterwarnings(r"ignore::FutureWarning:(lightning|torch)\..*")
@pytest.mark.parametrize(("accumulated", "limit", "ended"), [
    (1, {"max_steps": 7}, 7), (1, 7, 7), (1, 10, 10), (2, 8, 5), (2, {"max_steps": 4}, 4),
])  # fmt: skip
def test_a_run_that_a_limit_ended_within_an_epoch_goes_on_as_if_uninterrupted(tmp_path, accumulated, limit, ended):
    options = {"accumulate_grad_batches": accumulated}  # an epoch has 5 batches
    step, _ = train(tmp_path, Stop(limit), **options) if isinstance(limit, int) else train(tmp_path, **options, **limit)
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert step == torch.load(last, weights_only=True)["global_step"] == ended
    step, resumed = train(tmp_path, resume=last, **options)
    expected, uninterrupted = train(tmp_path / "other", **options)
    assert step == expected
    assert all(torch.equal(value, uninterrupted[name]) for name, value in resumed.items())


def test_the_time_of_max_time_counts_anew_when_a_run_is_resumed(tmp_path):
    torch.save({"callbacks": {Timer().state_key: {"time_elapsed": {"train": 9.0}}}}, tmp_path / "last.ckpt")
    assert AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt") == {"callbacks": {}}


def test_a_last_checkpoint_every_0_epochs_is_refused():
    with pytest.raises(UserError, match=r"callbacks\.last\.every_n_epochs=0: give a number of epochs, at least 1"):
        LastCheckpoint(0)


def test_dropping_the_optimizer_state_keeps_the_weights(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"w": torch.arange(3)}, "optimizer_states": [{"m": torch.zeros(9999)}]}, path)
    drop_optimizer_state(path)
    loaded = torch.load(path, weights_only=True)
    assert loaded.keys() == {"state_dict"}
    assert torch.equal(loaded["state_dict"]["w"], torch.arange(3))
