"""Contexts of the same images with made-up embeddings."""

from dataclasses import replace

import numpy as np
import pytest


@pytest.fixture
def made_up(context):
    """The context with other embeddings of the same images, [120, D]; and with other attributes."""

    def make(vectors=None, **changes):
        if vectors is not None:
            changes["embeddings"] = replace(context.embeddings, vectors=np.asarray(vectors, np.float32))
        return replace(context, **changes)

    return make


@pytest.fixture
def drawn(monkeypatch):
    """Replace the figure functions of an analysis by ones that note their arguments; returns these by function."""

    def watch(analysis, *functions):
        calls = {name: [] for name in functions}
        for name in functions:
            monkeypatch.setattr(
                f"fewlabels.evaluation.analyses.{analysis}.{name}",
                lambda *args, name=name, **kwargs: calls[name].append((args, kwargs)) or name,
            )
        return calls

    return watch
