"""Tests of real images run where FEWLABELS_IMAGES names a folder that holds `plankton` and `flowers`."""

import os
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    if not Path(os.environ.get("FEWLABELS_IMAGES", "/nonexistent")).is_dir():
        reason = pytest.mark.skip(reason="FEWLABELS_IMAGES names no folder of real images")
        for item in items:
            if "images" in item.keywords:
                item.add_marker(reason)
