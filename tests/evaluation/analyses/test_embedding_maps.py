import numpy as np
import pytest

from fewlabels.evaluation.analyses.embedding_maps import EmbeddingMaps
from fewlabels.probing.projections import principal_components

hovers = []


@pytest.fixture
def run(context, made_up, drawn, monkeypatch):
    """Run the analysis with principal components instead of UMAP, which is slow; return the figures' arguments."""
    monkeypatch.setattr(
        "fewlabels.evaluation.analyses.embedding_maps.umap_projection",
        lambda vectors, seed: principal_components(vectors, 2)[0],
    )
    calls = drawn("embedding_maps", "umap_figure", "pair_plot_figure")

    monkeypatch.setattr("fewlabels.evaluation.analyses.embedding_maps.add_hover", lambda _, hover: hovers.append(hover))
    hovers.clear()

    def call(max_samples):
        result = EmbeddingMaps().run(made_up(settings=context.settings | {"max_samples": max_samples}))
        assert list(result.figures) == ["umap", "pair_plot"]
        return calls["umap_figure"].pop()[0], calls["pair_plot_figure"].pop()[0]

    return call


def test_a_panel_shows_the_images_of_its_split(context, run):
    (panels, plane, labels, _), (components, variance, *_) = run(3000)
    for split, mask in panels.items():
        expected = context.embeddings.labels[context.embeddings.splits == split]
        assert labels[mask].tolist() == expected.tolist()
    assert sum(mask.sum() for mask in panels.values()) == len(labels) == len(plane) == len(components)
    assert list(panels) == ["train", "test", "unseen"]
    assert (np.diff(variance) <= 0).all()


def test_the_sample_is_capped_per_split(run):
    (panels, plane, labels, _), _ = run(30)
    assert [mask.sum() for mask in panels.values()] == [10, 10, 10]
    assert len(plane) == len(labels) == 30


def test_points_have_their_own_image_path_and_panel(context, run):
    (panels, plane, labels, _), _ = run(3000)
    (hover,) = hovers
    assert len(hover.points) == len(labels)
    row_of = {path: row for row, path in enumerate(context.data.paths)}
    for number in (0, 50, len(labels) - 1):
        path, _, name = hover.texts[number].partition(": ")
        assert name == context.embeddings.classes[labels[number]] == path.split("/")[0]
        assert np.array_equal(hover.images[number], context.data.images([row_of[path]])[0])
        assert np.array_equal(hover.points[number], plane[number])
        assert list(panels.values())[hover.axes[number]][number]
