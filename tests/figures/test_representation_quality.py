"""Representation quality: similarities, singular values and standard deviations."""

import numpy as np
import pytest

from fewlabels.figures.representation_quality import representation_quality_figure

RNG = np.random.default_rng(0)


def test_panels_show_the_statistics_of_the_embeddings():
    one = RNG.normal(size=(80, 6))
    figure = representation_quality_figure(one, one, synthetic=True)
    similarities, singular_values, deviations = figure.axes
    bars = [bar for bar in similarities.patches if bar.get_height() and bar.get_facecolor()[2] > 0.5]
    assert [bar.get_x() + bar.get_width() for bar in bars] == pytest.approx([1]), "equal views have a similarity of 1"
    expected = np.linalg.svd(one - one.mean(0), compute_uv=False)
    assert np.allclose(singular_values.lines[0].get_ydata(), expected / expected[0])
    directions = one / np.linalg.norm(one, axis=1, keepdims=True)
    assert np.allclose(deviations.lines[0].get_ydata(), sorted(directions.std(0) * np.sqrt(6), reverse=True))


def test_texts_of_the_figure():
    figure = representation_quality_figure(RNG.normal(size=(40, 4)), RNG.normal(size=(40, 4)))
    assert [axis.get_xlabel() for axis in figure.axes] == [
        "cosine similarity of the embeddings", "index of the singular value", "dimension (sorted)",
    ]  # fmt: skip
    assert [axis.get_ylabel() for axis in figure.axes] == [
        "density", "singular value / largest", "standard deviation × √D",
    ]  # fmt: skip
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "different images", "two views of an image",
    ]  # fmt: skip
    assert [text.get_text().strip() for axis in figure.axes for text in axis.texts] == [
        "effective rank 4", "uniform on the sphere",
    ]  # fmt: skip
    assert figure.get_supxlabel() == "n = 40 images, two views of each"


def test_a_collapsed_representation_can_be_drawn():
    figure = representation_quality_figure(np.ones((20, 4)), np.ones((20, 4)))
    assert "effective rank 0" in figure.axes[1].texts[0].get_text()
