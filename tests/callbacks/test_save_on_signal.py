"""Signals: the checkpoint that is saved, and the handlers afterwards."""

import logging
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from fewlabels.callbacks.save_on_signal import SaveOnSignal
from fewlabels.core.backbones import mlp
from fewlabels.core.optim import OptimizerConfig
from fewlabels.data.spirals import Spirals
from fewlabels.methods.base import Method

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


def fit(folder, *callbacks, resume=None, **options):
    torch.manual_seed(0)
    method = Shrink(
        backbone=mlp(channels=2, hidden=[4], dim=3), optimizer=OptimizerConfig(name="adamw", lr=0.1), seed=0
    )
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=2, logger=False, enable_checkpointing=False, num_sanity_val_steps=0,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        default_root_dir=str(folder), callbacks=list(callbacks), **options,
    )  # fmt: skip
    data = Spirals(n_points=100, noise=0.05, turns=1, batch_size=16, seed=0, val_fraction=0.2, test_fraction=0.0)
    trainer.fit(method, data, ckpt_path=resume, weights_only=True)
    return method.state_dict()


class Terminate(Callback):
    """Sends a signal to this process during a step."""

    def __init__(self, step, number=signal.SIGTERM):
        self.step, self.number = step, number

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("step", [0, 6])  # an epoch has 5 steps
def test_sigterm_saves_a_checkpoint_to_resume_from(step, tmp_path, caplog):
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped, caplog.at_level(logging.INFO, "fewlabels"):
        fit(tmp_path, SaveOnSignal(), Terminate(step))
    assert stopped.value.code == 143
    assert f"Stopped by SIGTERM at step {step + 1}. To continue: resume={tmp_path}" in caplog.messages
    assert signal.getsignal(signal.SIGTERM) == handler  # restored
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == step + 1  # the step has been finished
    resumed, uninterrupted = fit(tmp_path, SaveOnSignal(), resume=last), fit(tmp_path)
    assert all(torch.equal(value, uninterrupted[name]) for name, value in resumed.items())


def test_preemption_is_forwarded_after_saving(tmp_path):
    last = tmp_path / "checkpoints" / "last.ckpt"

    def requeue(number, _):
        raise SystemExit(int(torch.load(last, weights_only=True)["global_step"]))

    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        with pytest.raises(SystemExit) as stopped:
            fit(tmp_path, SaveOnSignal(), Terminate(6, signal.SIGUSR2))
        assert stopped.value.code == 7
        assert signal.getsignal(signal.SIGUSR2) == requeue
    finally:
        signal.signal(signal.SIGUSR2, before)
    resumed, uninterrupted = fit(tmp_path, SaveOnSignal(), resume=last), fit(tmp_path / "other")
    assert all(torch.equal(value, uninterrupted[name]) for name, value in resumed.items())


@pytest.mark.parametrize(("step", "ended"), [(0, 1), (1, 2), (2, 3)])  # 5 batches make 3 steps: 2, 2 and 1 batches
def test_gradients_that_are_being_accumulated_are_used_before_the_run_stops(step, ended, tmp_path):
    with pytest.raises(SystemExit):
        fit(tmp_path, SaveOnSignal(), Terminate(step), accumulate_grad_batches=2)  # comes with the step's first batch
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == ended
    resumed = fit(tmp_path, SaveOnSignal(), resume=last, accumulate_grad_batches=2)
    uninterrupted = fit(tmp_path / "other", accumulate_grad_batches=2)
    assert all(torch.equal(value, uninterrupted[name]) for name, value in resumed.items())


def test_without_a_signal_nothing_is_saved(tmp_path):
    handler = signal.getsignal(signal.SIGTERM)
    fit(tmp_path, SaveOnSignal())
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == handler


@pytest.mark.parametrize(("device", "world_size", "expected"), [
    ("cuda", 2, [10, 20]), ("cpu", 2, list(range(1, 26))), ("cuda", 1, list(range(1, 26))),
])  # fmt: skip
def test_several_gpus_ask_each_other_every_ten_steps(device, world_size, expected):
    asked = []
    strategy = SimpleNamespace(reduce_boolean_decision=lambda *_, **__: asked.append(trainer.global_step))
    trainer = SimpleNamespace(
        strategy=strategy, world_size=world_size, accumulate_grad_batches=1, num_training_batches=99
    )
    for step in range(1, 26):
        trainer.global_step = step
        method = SimpleNamespace(device=torch.device(device))
        SaveOnSignal().on_train_batch_end(trainer, method, None, None, step - 1)
    assert asked == expected
