"""A labelling session of three well separated classes, none of them labelled."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fewlabels.labelling.embedded import EmbeddedImages
from fewlabels.labelling.labels_file import LabelsFile
from fewlabels.labelling.session import LabellingSession
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.selection import neighbour_space


@pytest.fixture
def images():
    """60 images, of which embeddings of one class are near each other."""
    draw = np.random.default_rng(0)
    vectors = (5 * np.eye(6)[np.repeat([0, 1, 2], [30, 20, 10])] + draw.normal(size=(60, 6))).astype(np.float32)
    unlabelled = np.full(60, -1)
    data = SimpleNamespace(
        labels=unlabelled, digests=np.arange(60), root="FOLDER", folder=None, white=None, channels=1,
        paths=[f"sub/{row}.png" for row in range(60)],
        images=lambda rows: torch.full((len(rows), 1, 8, 8), 7, dtype=torch.uint8),
    )  # fmt: skip
    return EmbeddedImages(data, Embeddings(vectors, unlabelled, np.arange(60)), neighbour_space(vectors))


@pytest.fixture
def session(images, tmp_path):
    """The session, with its labels in `tmp_path / "labels.csv"`."""
    return LabellingSession(images, LabelsFile(tmp_path / "labels.csv"))
