"""Representation quality during training: logged metrics, and the warning of a collapse."""

import logging

import numpy as np
import pytest

from fewlabels.callbacks import representation_quality
from fewlabels.callbacks.representation_quality import RepresentationQuality

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings(r"ignore::FutureWarning:(lightning|torch)\..*"),
]


def test_metrics_are_logged(fit):
    trainer, _ = fit(RepresentationQuality(every_n_epochs=1, max_samples=40))
    prefix = "representation/"
    logged = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith(prefix)}
    assert logged.keys() == {f"{prefix}{name}" for name in ("alignment", "uniformity", "effective_rank", "spread")}
    assert np.isfinite(list(logged.values())).all()


def test_a_collapse_is_warned_of_once(fit, caplog):
    with caplog.at_level(logging.WARNING, "fewlabels"):
        fit(RepresentationQuality(every_n_epochs=1, max_samples=40), epochs=3, collapse=True)
    warnings = [message for message in caplog.messages if "collapsed" in message]
    assert len(warnings) == 1
    assert warnings[0].startswith("Epoch 1: the representation has collapsed: ")


def test_the_loss_of_an_earlier_validation_is_not_read(fit, monkeypatch):
    read = []
    assess = representation_quality.assess
    monkeypatch.setattr(
        representation_quality,
        "assess",
        lambda *views_and_metrics: read.append(views_and_metrics[2]) or assess(*views_and_metrics),
    )
    fit(RepresentationQuality(every_n_epochs=1, max_samples=40), epochs=2)
    assert read == [{}, {}]
