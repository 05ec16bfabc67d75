from types import SimpleNamespace

import pytest
import torch

from fewlabels.batch import Batch
from fewlabels.callbacks import speed

BATCH = Batch(torch.zeros(16, 2), torch.zeros(16), torch.arange(16))


class Clock:
    """Stands still unless told."""

    now = 100.0

    def perf_counter(self):
        return self.now


class Log:
    def __init__(self):
        self.values = []

    def log(self, name, value, **_):
        self.values.append((name, value))


@pytest.fixture(name="clock")
def stopped_clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(speed, "time", clock)
    return clock


def epoch(callback, clock, log, seconds, world=1, validation=50.0):
    """An epoch of steps that take so many seconds each, and validation after it."""
    trainer = SimpleNamespace(world_size=world)
    callback.on_train_epoch_start(trainer, log)
    for number, duration in enumerate(seconds):
        clock.now += duration
        callback.on_train_batch_end(trainer, log, None, BATCH, number)
    clock.now += validation
    callback.on_train_epoch_end(trainer, log)


@pytest.mark.parametrize("world", [1, 2])
def test_images_of_the_global_batch_without_the_first_and_without_validation(world, clock):
    callback, log = speed.Speed(), Log()
    epoch(callback, clock, log, [30.0, 2.0, 2.0, 2.0], world)
    epoch(callback, clock, log, [1.0, 1.0, 2.0, 4.0], world)
    rates = [pytest.approx(world * 3 * 16 / 6), pytest.approx(world * 4 * 16 / 8)]
    assert log.values == [("train/images_per_second", rate) for rate in rates]


def test_an_epoch_of_the_first_batch_alone_has_no_speed(clock):
    callback, log = speed.Speed(), Log()
    epoch(callback, clock, log, [30.0])
    assert log.values == []


def test_seconds_are_those_of_all_fits(clock):
    first = speed.Speed()
    clock.now += 1000
    first.on_fit_start(None, None)
    clock.now += 40
    assert first.seconds == pytest.approx(40)
    state = first.state_dict()
    clock.now += 5000
    resumed = speed.Speed()
    resumed.load_state_dict(state)
    resumed.on_fit_start(None, None)
    clock.now += 2
    assert resumed.seconds == pytest.approx(42)
