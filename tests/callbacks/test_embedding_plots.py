"""The figures of the embedding space: when they are drawn, and that training is not affected."""

import pytest
import torch

from fewlabels.callbacks import embedding_plots as module
from fewlabels.callbacks.embedding_plots import EmbeddingPlots
from fewlabels.callbacks.representation_quality import RepresentationQuality

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings(r"ignore::FutureWarning:(lightning|torch)\..*"),
]


def test_figures_of_validation_images_are_drawn_when_due(fit, monkeypatch):
    figures = {}
    monkeypatch.setattr(module, "umap_projection", lambda vectors: vectors[:, :2])
    monkeypatch.setattr(module, "log_figure", lambda trainer, name, draw: figures.update({name: draw()}))
    fit(EmbeddingPlots(every_n_epochs=2, max_samples=60), epochs=3)
    assert figures.keys() == {"umap", "pair_plot"}
    text = " ".join(figures["umap"].get_supxlabel().split())
    assert text.startswith("n = 60 validation images of plankton; UMAP of the embeddings, ")
    assert text.endswith("; epoch 2; SYNTHETIC images")


def test_nothing_is_drawn_before_it_is_due(fit, tmp_path):
    fit(EmbeddingPlots(every_n_epochs=3), epochs=2)
    assert not (tmp_path / "figures").exists()


@pytest.mark.slow
def test_training_is_not_affected(fit, tmp_path):
    _, expected = fit()
    plots, quality = EmbeddingPlots(every_n_epochs=2, max_samples=60), RepresentationQuality(1, max_samples=40)
    _, state = fit(plots, quality)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"umap.png", "pair_plot.png"}
    assert all(torch.equal(value, state[name]) for name, value in expected.items())
