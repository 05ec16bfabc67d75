"""The notebooks run from top to bottom without images on disk, and show figures."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.subprocess
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's own libraries
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs_and_shows_figures(file, tmp_path, monkeypatch):
    for name, value in {"FEWLABELS_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setitem(os.environ, name, value)
    book = nbformat.read(file, as_version=4)
    for cell in book.cells:  # the images are synthetic, so longer trainings would show no more
        cell.source = re.sub(r"trainer\.max_epochs=\d+", "trainer.max_epochs=1", cell.source)
    NotebookClient(book, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    figures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(figures) >= 5
    text = "".join(output.get("text", "") for output in outputs)
    assert "Traceback" not in text
    assert "Warning" not in text
    assert ("SYNTHETIC" in text) == (file.stem != "spirals")


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_stored_without_outputs(file):
    cells = nbformat.read(file, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_there_are_three_notebooks():
    assert [file.stem for file in NOTEBOOKS] == ["flowers", "plankton", "spirals"]
