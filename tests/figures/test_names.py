"""Names in figures: any text is shown as text; different names stay different; what no font has becomes a number."""

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib.text import Text

from fewlabels.figures import names as module
from fewlabels.figures.dataset import counts_figure, examples_figure
from fewlabels.figures.embedding_plots import pair_plot_figure, umap_figure
from fewlabels.figures.galleries import gallery_figure, neighbours_figure
from fewlabels.figures.heatmaps import confusion_comparison_figure, confusion_figure, distances_figure, sweep_heatmap
from fewlabels.figures.init_comparison import bars_figure, fractions_figure
from fewlabels.figures.label_efficiency import label_efficiency_figure
from fewlabels.figures.layerwise_probe import layerwise_probe_figure
from fewlabels.figures.learning_curves import curves_figure, repeated_curves_figure
from fewlabels.figures.names import font_with, name_key, one_line, shortened, shown_names
from fewlabels.figures.representation_quality import representation_quality_figure
from fewlabels.figures.spirals import position_figure
from fewlabels.figures.style import caption, new_figure
from fewlabels.probing.class_geometry import Gallery

ODD = [
    "$$", "$a", "$a$b$", "a$b$", "$\\frac$", "_x", "x", "\\frac", "<b>", "&", "new\nline", "\u05e9\u05dc\u05d5\u05dd",
    "\U0001f600", "\u6d6e\u6e38", "\u6d6e", "\udcff", "\x07", "\u202eabc", "__", "%s {0}",
]  # fmt: skip
"""Names of folders that are possible."""
N = len(ODD)
RNG = np.random.default_rng(0)
IMAGES = np.zeros((2 * N, 1, 4, 4), np.uint8)
LABELS = np.arange(2 * N) % N
CURVE = np.array([1.0, 2.0]), np.array([0.1, 0.2])


def scores(column, **others):
    rows = [(name, x, 0, 0.5) for name in ODD for x in (10, 20)]
    table = pd.DataFrame(rows, columns=[column, "labels", "seed", "accuracy"], dtype=object)
    table = table.astype({"labels": int, "seed": int, "accuracy": float})  # pandas' strings require UTF-8
    return table.assign(balanced_accuracy=0.5, repeat=0, probe="knn", layer=table["labels"].map(str), **others)


def gallery():
    angles = np.array([1.0]), np.array([2.0]), np.arange(N - 1.0)
    return [Gallery(ODD[0], np.array([0]), np.array([N]), np.arange(1, N), angles)]


FIGURES = {
    "counts": lambda: counts_figure(LABELS, ODD),
    "examples": lambda: examples_figure(IMAGES[:N], LABELS[:N], ODD),
    "umap": lambda: umap_figure({"val": LABELS >= 0}, RNG.normal(size=(2 * N, 2)), LABELS % 8, ODD, text="images"),
    "umap panels": lambda: umap_figure({"a": LABELS < 9, "b": LABELS > 8}, RNG.normal(size=(2 * N, 2)), LABELS, ODD,
                                       text="images"),
    "pair plot": lambda: pair_plot_figure(RNG.normal(size=(2 * N, 2)), np.array([0.5, 0.5]), LABELS % 8, ODD),
    "gallery": lambda: gallery_figure(gallery(), IMAGES, LABELS, ODD),
    "neighbours": lambda: neighbours_figure(IMAGES[:N], LABELS[:N], IMAGES[:N, None], LABELS[:N, None],
                                            np.zeros((N, 1)), ODD, n=N),
    "confusion": lambda: confusion_figure(ODD, np.eye(N), title="test images"),
    "confusions": lambda: confusion_comparison_figure({name: np.eye(2) for name in ODD[:4]}, ODD[-2:], text=""),
    "distances": lambda: distances_figure(ODD, np.eye(N), np.eye(N), n=9, text="images"),
    "sweep": lambda: sweep_heatmap(np.ones((N, 1)), rows=("key", ODD), columns=("other", ["$$"]), metric="m", n=1),
    "bars": lambda: bars_figure(scores("init"), classes=2, tested=9, text=""),
    "fractions": lambda: fractions_figure(scores("init"), classes=2, tested=9),
    "label efficiency": lambda: label_efficiency_figure(scores("source"), classes=2, tested=9, population="$$"),
    "layers": lambda: layerwise_probe_figure(scores("source"), labels=9, classes=2, tested=9),
    "curves": lambda: curves_figure(dict.fromkeys(ODD, CURVE), metric="val/loss"),
    "repeated curves": lambda: repeated_curves_figure({name: [CURVE] for name in ODD}, text="9 labels"),
    "representation": lambda: representation_quality_figure(RNG.normal(size=(9, 3)), RNG.normal(size=(9, 3))),
    "position": lambda: position_figure(np.arange(N), np.arange(N), np.arange(N) % 8, ODD, spearman=1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_any_name_can_be_saved_and_is_not_typeset(name):
    figure = FIGURES[name]()
    figure.savefig(io.BytesIO(), format="png", dpi=40)  # a glyph that is missing would be a warning, here an error
    texts = figure.findobj(Text)
    assert not any(text.get_parse_math() or text.get_usetex() for text in texts)
    assert not any("mathdefault" in text.get_text() for text in texts), "matplotlib's own labels are plain, too"


@pytest.mark.parametrize("name", ["fractions", "label efficiency", "layers", "curves", "repeated curves"])
def test_every_curve_is_drawn_and_in_the_legend_within_the_figure(name):
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts() if text.get_text() != "chance level"]
    assert len(set(texts)) == len(texts) == N
    looks = {(line.get_color() if isinstance(line.get_color(), str) else tuple(line.get_color()),
              line.get_linestyle(), line.get_marker())
             for line in figure.axes[0].lines if len(line.get_xdata()) == 2 and line.get_linewidth() > 1}  # fmt: skip
    assert len(looks - {("#666666", ":", "None")}) >= N
    frame = legend.get_window_extent()
    assert figure.bbox.x0 - 1 <= frame.x0
    assert frame.x1 <= figure.bbox.x1 + 1
    assert figure.bbox.y0 - 1 <= frame.y0
    assert frame.y1 <= figure.bbox.y1 + 1


@pytest.mark.parametrize(("name", "length", "expected"), [
    ("fish_larvae", 22, "fish larvae"),
    ("fish_larvae_medium_body", 22, "fish larv. medium body"),
    ("a_very_long_name_of_class_12", 16, "a very lon…ss 12"),
])  # fmt: skip
def test_names_are_shortened(name, length, expected):
    assert shortened(name, length) == expected
    assert len(expected) <= length


def test_names_that_are_no_utf_8_and_line_breaks_are_shown_in_one_line():
    assert one_line("bee\udcff") == "bee?"
    assert one_line(" a\r\n\tb\u2028c\u202ed ") == "a b c d"


@given(st.lists(st.text(st.sampled_from("ab_ (2)[1]\n…\u6d6e"), max_size=30), max_size=12),
       st.sampled_from([None, 13, 22]))  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_different_names_stay_different(names, length):
    shown = shown_names(new_figure(1, 1), names, length)
    assert len(set(shown)) == len(set(names))
    assert [shown[names.index(name)] for name in names] == shown
    assert all(text and not text.startswith("_") and "\n" not in text for text in shown)
    assert length is None or max(map(len, shown), default=0) <= length


def test_names_that_differ_in_the_middle_stay_different():
    names = [f"a_very_long_beginning_{k}_and_a_very_long_end" for k in range(3)]
    assert shown_names(new_figure(1, 1), names, 22) == [
        "a_very_long_be…ong_end", "a_very_long…ng_end (2)", "a_very_long…ng_end (3)",
    ]  # fmt: skip
    assert shown_names(new_figure(1, 1), ["a_b", "a b", "c_d"], 22) == ["a_b", "a b", "c d"]


def test_a_name_without_glyphs_is_a_number_that_the_caption_explains():
    figure = new_figure(9, 3)
    assert shown_names(figure, ["ant", "\u6d6e", "[1]", "\u6d6e\u6e38"]) == ["ant", "[2]", "[1]", "[3]"]
    assert shown_names(figure, ["\u6d6e\u6e38"], 9) == ["[3]"]
    assert name_key(figure) == {"\u6d6e": "[2]", "\u6d6e\u6e38": "[3]"}
    caption(figure, "images", n=3)
    text = " ".join(figure.get_supxlabel().split())
    assert text == "n = 3 images; names that no font here has: [2] = U+6D6E, [3] = U+6D6E U+6E38"


def test_a_key_of_many_names_ends_after_a_dozen():
    figure = new_figure(9, 3)
    shown_names(figure, [chr(0x6D6E + k) for k in range(15)])
    caption(figure, "images", n=3)
    assert "[12] = U+6D79, … (3 more)" in " ".join(figure.get_supxlabel().split())


def test_the_glyphs_of_another_installed_font_are_used(monkeypatch):
    fonts = {font.name: font for font in font_manager.fontManager.ttflist}
    monkeypatch.setattr(module, "_characters", lambda file: {0x6D6E} if file == fonts["cmr10"].fname else {97})
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [fonts["STIXGeneral"], fonts["cmr10"]])
    monkeypatch.setattr(module, "PARTIAL", ("STIX",))
    font_with.cache_clear()
    try:
        assert [font_with(character) for character in "a\u6d6e "] == ["default", "cmr10", "default"]
        figure = new_figure(2, 2)
        text = figure.text(0, 0, "a\u6d6e")
        with pytest.warns(UserWarning, match="missing"):  # cmr10 has no such glyph in truth
            figure.draw_without_rendering()
        assert text.get_fontfamily() == ["sans-serif", "cmr10"]
    finally:
        font_with.cache_clear()
