"""Throughput and duration with a fake clock."""

from types import SimpleNamespace

import pytest
import torch

from fewlabels.callbacks import throughput
from fewlabels.core.batch import Batch

BATCH = Batch(torch.zeros(16, 2), torch.zeros(16), torch.arange(16))


class Clock:
    """A clock that the test advances."""

    now = 100.0

    def perf_counter(self):
        return self.now


class Log:
    def __init__(self):
        self.values = []

    def log(self, name, value, **_):
        self.values.append((name, value))


@pytest.fixture(name="clock")
def fake_clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)
    return clock


def run_epoch(callback, clock, log, seconds, world=1, validation=50.0):
    """Run an epoch: steps of the given durations in seconds, then validation."""
    trainer = SimpleNamespace(world_size=world)
    callback.on_train_epoch_start(trainer, log)
    for number, duration in enumerate(seconds):
        clock.now += duration
        callback.on_train_batch_end(trainer, log, None, BATCH, number)
    clock.now += validation
    callback.on_train_epoch_end(trainer, log)


@pytest.mark.parametrize("world", [1, 2])
def test_speed_excludes_the_first_batch_and_validation(world, clock):
    callback, log = throughput.Throughput(), Log()
    run_epoch(callback, clock, log, [30.0, 2.0, 2.0, 2.0], world)
    run_epoch(callback, clock, log, [1.0, 1.0, 2.0, 4.0], world)
    rates = [pytest.approx(world * 3 * 16 / 6), pytest.approx(world * 4 * 16 / 8)]
    assert log.values == [("train/images_per_second", rate) for rate in rates]


def test_an_epoch_with_only_the_first_batch_logs_no_speed(clock):
    callback, log = throughput.Throughput(), Log()
    run_epoch(callback, clock, log, [30.0])
    assert log.values == []


def test_seconds_include_those_before_resuming(clock):
    first = throughput.Throughput()
    clock.now += 1000
    first.on_fit_start(None, None)
    clock.now += 40
    assert first.seconds == pytest.approx(40)
    state = first.state_dict()
    clock.now += 5000
    resumed = throughput.Throughput()
    resumed.load_state_dict(state)
    resumed.on_fit_start(None, None)
    clock.now += 2
    assert resumed.seconds == pytest.approx(42)
