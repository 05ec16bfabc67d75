"""Data modules with synthetic images, and what they must satisfy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory) -> str:
    """A cache for all tests: drawing a dataset takes seconds."""
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def make_synthetic(make_module, tmp_path, monkeypatch, shared_cache) -> Callable[..., Any]:
    """Construct a data module in an empty folder, so that its images are synthetic."""
    monkeypatch.chdir(tmp_path)
    options = {"size": 32, "url": "https://example.org/x.tar", "cache_dir": shared_cache}
    return lambda data_module, **changes: make_module(data_module, **options | changes)


@pytest.fixture
def accuracies() -> Callable[[Any], tuple[float, float]]:
    """Test accuracy of kNN on the amplitude spectrum (ignores position), and of a classifier of mean brightness."""

    def measure(module: Any) -> tuple[float, float]:
        from sklearn.linear_model import LogisticRegression
        from sklearn.neighbors import KNeighborsClassifier

        train, test, labels = module.indices("train"), module.indices("test"), module.labels
        pixels = module.images(np.arange(len(module.paths))).numpy().astype(np.float32) / 255
        spectrum = np.log1p(np.abs(np.fft.rfft2(pixels.mean(axis=1)))).reshape(len(pixels), -1)
        brightness = pixels.reshape(len(pixels), -1).mean(axis=1, keepdims=True)
        knn = KNeighborsClassifier(5).fit(spectrum[train], labels[train])
        classifier = LogisticRegression().fit(brightness[train], labels[train])
        return knn.score(spectrum[test], labels[test]), classifier.score(brightness[test], labels[test])

    return measure
