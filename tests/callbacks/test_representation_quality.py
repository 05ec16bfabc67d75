"""Representation quality during training: logged metrics, and the warning of a collapse."""

import logging

import numpy as np
import pytest

from fewlabels.callbacks.representation_quality import RepresentationQuality
from fewlabels.data.plankton import Plankton
from fewlabels.probing.representation_quality import assess

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


def test_no_metric_of_an_earlier_validation_is_assessed(fit, monkeypatch):
    """The loss of this validation is logged after this hook: what the trainer holds is that of the one before."""
    given = []
    module = "fewlabels.callbacks.representation_quality"
    monkeypatch.setattr(
        f"{module}.assess", lambda one, other, metrics: given.append(dict(metrics)) or assess(one, other, metrics)
    )
    fit(RepresentationQuality(every_n_epochs=1, max_samples=40), epochs=3)
    assert given == [{}] * 3


def test_images_are_a_random_sample_of_the_validation_split(fit, monkeypatch):
    rows = []
    images = Plankton.images
    monkeypatch.setattr(Plankton, "images", lambda self, chosen: rows.append((self, chosen)) or images(self, chosen))
    fit(RepresentationQuality(every_n_epochs=1, max_samples=40), epochs=1)
    data, chosen = next(pair for pair in rows if len(pair[1]) == 40)
    val = data.indices("val")
    assert set(chosen) <= set(val)
    classes = [len(set(np.asarray(data.labels)[part])) for part in (val[:40], chosen)]
    assert classes[1] > classes[0]  # the first images are of the first classes


def test_a_collapse_is_warned_of_once(fit, caplog):
    with caplog.at_level(logging.WARNING, "fewlabels"):
        fit(RepresentationQuality(every_n_epochs=1, max_samples=40), epochs=3, collapse=True)
    warnings = [message for message in caplog.messages if "collapsed" in message]
    assert len(warnings) == 1
    assert warnings[0].startswith("Epoch 1: the representation has collapsed: ")
