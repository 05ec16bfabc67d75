"""What all methods share: random draws, logged means, the optimizer, resuming and checkpoints."""

import itertools
import math

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import nn

from fewlabels import load_backbone
from fewlabels.core.backbones import Backbone, mlp
from fewlabels.core.errors import UserError
from fewlabels.core.optim import OptimizerConfig
from fewlabels.data.spirals import Spirals
from fewlabels.methods.base import Method

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings(r"ignore::FutureWarning:(lightning|torch)\..*"),
]
BATCHES, BATCH_SIZE = 4, 16


class Recorder(Method):
    """Shrinks embeddings and records the random draws of every step."""

    def __init__(self, **shared):
        super().__init__(**shared)
        self.drawn = []

    def step(self, batch, generator):
        draws = torch.rand(2, generator=generator).tolist()
        self.drawn.append((self.training, self.current_epoch, draws, torch.rand(1).item()))
        loss = self.backbone(batch.x).square().mean()
        return {"loss": loss, "loss_chance": loss.new_tensor(7.0)}


def make_data():
    return Spirals(
        n_points=100, noise=0.05, turns=1.5, batch_size=BATCH_SIZE, seed=0, val_fraction=0.25, test_fraction=0.1
    )


def make_method(seed=0, **options):
    torch.manual_seed(0)
    optimizer = OptimizerConfig(**{"name": "sgd", "lr": 1.0, "schedule": "constant"} | options)
    return Recorder(backbone=mlp(channels=2, hidden=[4], dim=3), optimizer=optimizer, seed=seed)


def make_trainer(folder, epochs=2, **options):
    return Trainer(
        accelerator="cpu", devices=1, max_epochs=epochs, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        use_distributed_sampler=False, default_root_dir=str(folder), **options,
    )  # fmt: skip


def fit(folder, seed=0, **options):
    method, trainer = make_method(seed), make_trainer(folder, **options)
    trainer.fit(method, make_data())
    return method, trainer


def draws(method, *, training, epoch=None):
    return [drawn for mode, e, drawn, _ in method.drawn if mode == training and epoch in (None, e)]


def test_every_step_has_different_draws_and_a_second_run_repeats_them(tmp_path):
    method, _ = fit(tmp_path)
    training = draws(method, training=True)
    assert len(training) == 2 * BATCHES
    assert all(a != b for a, b in itertools.combinations(training, 2))
    assert fit(tmp_path)[0].drawn == method.drawn  # including those of the global generator
    assert all(a != b for a, b in zip(training, draws(fit(tmp_path, seed=1)[0], training=True), strict=True))


def test_the_global_generator_is_seeded_in_every_step(tmp_path):
    drawn = [number for mode, _, _, number in fit(tmp_path)[0].drawn if mode]
    assert len(set(drawn)) == 2 * BATCHES


def test_ranks_have_different_draws(tmp_path, monkeypatch):
    first = draws(fit(tmp_path, epochs=1)[0], training=True)
    monkeypatch.setattr("fewlabels.methods.base.rank", lambda: 1)
    second = draws(fit(tmp_path, epochs=1)[0], training=True)
    assert all(a != b for a, b in itertools.product(first, second))


def test_a_resumed_run_ends_like_an_uninterrupted_one(tmp_path):
    uninterrupted, _ = fit(tmp_path, epochs=2)
    _, trainer = fit(tmp_path, epochs=1)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    resumed = make_method()
    make_trainer(tmp_path, epochs=2).fit(resumed, make_data(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert resumed.drawn == [drawn for drawn in uninterrupted.drawn if drawn[1] == 1]
    expected = uninterrupted.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.state_dict().items())


def test_validation_has_the_same_draws_in_every_epoch_and_none_of_training(tmp_path):
    method, _ = fit(tmp_path)
    first, second = (draws(method, training=False, epoch=epoch) for epoch in (0, 1))
    assert len(first) == 2
    assert first[0] != first[1]
    assert first == second
    assert all(a != b for a, b in itertools.product(first, draws(method, training=True)))


def test_validation_draws_do_not_depend_on_the_number_of_ranks(tmp_path, monkeypatch):
    one_rank = draws(fit(tmp_path, epochs=1)[0], training=False)
    monkeypatch.setattr("fewlabels.methods.base.world_size", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr("fewlabels.methods.base.rank", lambda rank=rank: rank)
        assert draws(fit(tmp_path, epochs=1)[0], training=False)[0] == one_rank[rank]


def test_logged_metrics_are_means_over_samples(tmp_path):
    method, trainer = fit(tmp_path)
    data = make_data()
    data.setup()
    logged = trainer.callback_metrics
    with torch.no_grad():
        expected = method.backbone(torch.from_numpy(data.points("val"))).square().mean()  # batches of 16 and 9
    assert logged["val/loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert {name: logged[f"{name}_chance"].item() for name in ("train/loss", "val/loss")} == {
        "train/loss": 7.0, "val/loss": 7.0,
    }  # fmt: skip
    trainer.test(method, data, verbose=False)
    with torch.no_grad():
        expected = method.backbone(torch.from_numpy(data.points("test"))).square().mean()
    assert trainer.callback_metrics["test/loss"].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_learning_rate_is_scaled_by_the_global_batch(accumulated, tmp_path):
    _, trainer = fit(tmp_path, epochs=1, accumulate_grad_batches=accumulated)
    rates = {group["lr"] for group in trainer.optimizers[0].param_groups}
    assert rates == {1.0 * BATCH_SIZE * accumulated / 256}
    assert trainer.global_step == BATCHES // accumulated


def test_the_schedule_ends_with_the_run(tmp_path):
    method, trainer = make_method(schedule="cosine"), make_trainer(tmp_path)
    trainer.fit(method, make_data())
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


def containers(value):
    yield type(value)
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from containers(part)


def test_checkpoints_hold_plain_containers_and_the_backbone(tmp_path):
    method, trainer = fit(tmp_path, seed=3, epochs=1)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    description = {"builder": "fewlabels.core.backbones:mlp", "channels": 2, "hidden": [4], "dim": 3}
    assert checkpoint["fewlabels"].items() >= {"backbone": description, "method": "Recorder", "seed": 3}.items()
    assert set(containers(checkpoint["fewlabels"])) <= {dict, list, str, int, float, bool, type(None)}
    x = torch.rand(5, 2)
    assert torch.equal(load_backbone(tmp_path / "a.ckpt")(x), method.embed(x))


def test_other_entries_of_the_checkpoint_are_kept():
    checkpoint = {"fewlabels": {"data": "spirals"}}
    make_method().on_save_checkpoint(checkpoint)
    assert checkpoint["fewlabels"].keys() >= {"data", "backbone", "method", "seed"}
    assert checkpoint["fewlabels"]["data"] == "spirals"


def test_images_are_normalised_and_channels_last():
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    backbone = Backbone(body, channels=3, size=8, mean=[0.5] * 3, std=[0.25] * 3)
    method = Recorder(backbone=backbone, optimizer=OptimizerConfig(name="sgd", lr=1.0), seed=0)
    x = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert method.prepare(x).is_contiguous(memory_format=torch.channels_last)
    assert body[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(method.embed(x), backbone((x / 255 - 0.5) / 0.25), atol=1e-5)


class Diverging(Recorder):
    """Returns a loss that is not finite, in training from the second step or in one validation batch."""

    broken = "train"

    def step(self, batch, generator):
        metrics = super().step(batch, generator)
        number = sum(training == (self.broken == "train") for training, *_ in self.drawn)
        if self.training == (self.broken == "train") and number == 2:
            metrics["loss"] = metrics["loss"] * float("nan")
        return metrics


def test_a_training_loss_that_is_not_finite_ends_the_run_at_once_and_names_the_remedy(tmp_path):
    method = make_method()
    method.__class__ = Diverging
    with pytest.raises(UserError, match=r"training loss is nan in epoch 1, step 1: .*lower method\.optimizer\.lr"):
        make_trainer(tmp_path).fit(method, make_data())
    assert sum(training for training, *_ in method.drawn) == 2


def test_a_validation_batch_without_a_finite_loss_is_not_left_out_of_the_mean(tmp_path):
    method, trainer = make_method(), make_trainer(tmp_path, epochs=1)
    method.__class__, method.broken = Diverging, "val"
    trainer.fit(method, make_data())
    assert torch.isnan(trainer.callback_metrics["val/loss"])
    assert trainer.callback_metrics["val/loss_chance"] == 7


class Moves(Callback):
    """Records the length of every step's move in weight space."""

    def __init__(self):
        self.before, self.moves = None, []

    @staticmethod
    def weights(method):
        return torch.cat([weight.detach().flatten().clone() for weight in method.parameters()])

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if self.before is None:
            self.before = self.weights(pl_module)

    def on_train_batch_end(self, trainer, pl_module, *_):
        move = (self.weights(pl_module) - self.before).norm().item()
        if move:
            self.moves.append(move)
            self.before = self.weights(pl_module)


@pytest.mark.parametrize(("accumulated", "clip"), [(1, None), (2, None), (1, 1e-3)])
def test_the_gradient_norm_is_that_of_sgd_s_moves_before_clipping(accumulated, clip, tmp_path):
    moves = Moves()
    method = make_method(momentum=0.0, lr=0.01)
    trainer = make_trainer(tmp_path, 1, callbacks=[moves], accumulate_grad_batches=accumulated, gradient_clip_val=clip)
    trainer.fit(method, make_data())
    rate = 0.01 * BATCH_SIZE * accumulated / 256
    metrics = trainer.callback_metrics
    assert metrics["train/lr"].item() == pytest.approx(rate)
    if clip is None:
        assert len(moves.moves) == BATCHES // accumulated
        expected = sum(moves.moves) / len(moves.moves) / rate
        assert metrics["train/gradient_norm"].item() == pytest.approx(expected, rel=1e-3)
    else:
        assert max(moves.moves) / rate == pytest.approx(clip, rel=0.05)
        assert metrics["train/gradient_norm"].item() > 10 * clip


def test_the_learning_rate_is_that_of_the_epoch_s_last_step(tmp_path):
    method, trainer = make_method(schedule="cosine"), make_trainer(tmp_path, 2)
    trainer.fit(method, make_data())
    full = BATCH_SIZE / 256
    expected = full * 0.5 * (1 + math.cos(math.pi * (2 * BATCHES - 1) / (2 * BATCHES)))  # before the last step
    assert trainer.callback_metrics["train/lr"].item() == pytest.approx(expected)


def test_steps_that_overflow_do_not_count_in_the_gradient_norm(tmp_path, monkeypatch):
    method, logged = make_method(), {}
    monkeypatch.setattr(method, "log", lambda name, value, **_: logged.update({name: float(value)}))
    method.gradient_norms = [torch.tensor(value) for value in (1.0, math.inf, 3.0, math.nan)]
    method.on_train_epoch_end()
    assert logged == {"train/gradient_norm": 2.0}
    method.on_train_epoch_end()
    assert logged == {"train/gradient_norm": 2.0}


def test_a_backbone_with_a_rate_of_its_own_has_a_column_of_its_own(monkeypatch):
    method, logged = make_method(), {}
    monkeypatch.setattr(method, "log", lambda name, value, **_: logged.update({name: float(value)}))
    weights = list(method.parameters())
    rates = (0.5, 0.5, 0.05, 0.05)  # weights and vectors of the head, then of the backbone
    groups = [{"params": [weight], "lr": rate} for weight, rate in zip(weights, rates, strict=True)]
    method.on_before_optimizer_step(torch.optim.SGD(groups))
    method.gradient_norms = []
    method.on_train_epoch_end()
    assert logged == {"train/lr": 0.5, "train/lr_backbone": 0.05}


def test_layer_decay_lowers_the_rates_of_early_layers_but_not_of_the_head():
    method = make_method(layer_decay=0.5, lr=0.1)
    method.head = nn.Linear(3, 1)
    optimizer, _ = method.optimizer_config.build(
        method, global_batch=256, steps_per_epoch=10, total_steps=100, groups=method.parameter_groups(10)
    )
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: rates[id(p)] for name, p in method.named_parameters() if name.endswith("weight")}
    assert found == pytest.approx({"backbone.body.0.weight": 0.025, "backbone.body.2.weight": 0.05, "head.weight": 0.1})
    assert len(rates) == len([*method.parameters()])
