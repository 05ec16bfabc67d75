import os
import signal

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from fewlabels.backbones import mlp
from fewlabels.callbacks.signals import SaveOnSignal
from fewlabels.data.spirals import Spirals
from fewlabels.methods.base import Method
from fewlabels.optim import Recipe

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended.*"),
    pytest.mark.filterwarnings(r"ignore::FutureWarning:(lightning|torch)\..*"),
]


class Shrink(Method):
    def step(self, batch, generator):
        noise = torch.rand(batch.x.shape, generator=generator)
        loss = self.backbone(batch.x + noise).square().mean()
        return {"loss": loss, "loss_chance": loss.new_tensor(1.0)}


def fit(folder, *callbacks, resume=None):
    torch.manual_seed(0)
    recipe = Recipe(name="adamw", lr=0.1)
    method = Shrink(backbone=mlp(channels=2, hidden=[4], dim=3), optimizer=recipe, seed=0)
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=2, logger=False, enable_checkpointing=False, num_sanity_val_steps=0,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        default_root_dir=str(folder), callbacks=list(callbacks),
    )  # fmt: skip
    data = Spirals(n_points=100, noise=0.05, turns=1, batch_size=16, seed=0, val_fraction=0.2, test_fraction=0.0)
    trainer.fit(method, data, ckpt_path=resume, weights_only=True)
    return method.state_dict()


class Terminate(Callback):
    """Sends a signal to this process while a step runs."""

    def __init__(self, step, number=signal.SIGTERM):
        self.step, self.number = step, number

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("step", [0, 6])  # of 5 in an epoch
def test_sigterm_saves_and_the_run_goes_on_from_there(step, tmp_path):
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        fit(tmp_path, SaveOnSignal(), Terminate(step))
    assert stopped.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == handler  # afterwards it ends the program again
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == step + 1  # the step was finished
    resumed, whole = fit(tmp_path, SaveOnSignal(), resume=last), fit(tmp_path)
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())


def test_preemption_is_handed_on_once_all_is_saved(tmp_path):
    last = tmp_path / "checkpoints" / "last.ckpt"

    def queue_again(number, _):
        raise SystemExit(int(torch.load(last, weights_only=True)["global_step"]))

    before = signal.signal(signal.SIGUSR2, queue_again)
    try:
        with pytest.raises(SystemExit) as stopped:
            fit(tmp_path, SaveOnSignal(), Terminate(6, signal.SIGUSR2))
        assert stopped.value.code == 7
        assert signal.getsignal(signal.SIGUSR2) == queue_again
    finally:
        signal.signal(signal.SIGUSR2, before)
    resumed, whole = fit(tmp_path, SaveOnSignal(), resume=last), fit(tmp_path / "whole")
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())


def test_without_a_signal_nothing_is_saved(tmp_path):
    handler = signal.getsignal(signal.SIGTERM)
    fit(tmp_path, SaveOnSignal())
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == handler
