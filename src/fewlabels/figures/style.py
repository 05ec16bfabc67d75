"""Shared style of all figures: colours, axes, captions, legends and thumbnails."""

import functools
import itertools
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.figures.names import font_with, name_key

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
"""Eight colours for colour-blind readers: seven of Okabe and Ito (2008), their pale yellow replaced by a brown."""
STYLES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"), ("-", "v"), ("--", "P"), (":", "X"), ("-.", "*"))
"""Line styles and markers, one for each colour."""
MAX_KEY = 12
"""A caption explains at most this many numbers that stand for names; the report explains all."""
POSITIVE, NEGATIVE = PALETTE[0], "#C8442B"
CONTINUOUS = "viridis"
"""Its lightness increases monotonically, so that it can be read in greyscale."""
INK, MUTED = "#222222", "#666666"
CHANCE = "chance level"


def new_figure(width: float, height: float) -> "Figure":
    """Make an empty Figure of `width` × `height` inches with constrained layout, without pyplot and its windows.

    Its texts are shown as they are, because class names are the user's: "$" and backslashes are never typeset,
    whatever matplotlibrc says.
    """
    return _figure_class()(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")


@functools.cache
def _figure_class() -> type["Figure"]:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    class PlainTextFigure(Figure):
        def draw(self, renderer: "RendererBase") -> None:
            """Draw, with no text typeset as mathematics: neither those that exist nor the ticks that drawing adds."""
            with mpl.rc_context({"text.parse_math": False, "text.usetex": False}):
                for text in self.findobj(Text):
                    text.set(parse_math=False, usetex=False)
                    others = {font_with(character) for character in text.get_text()} - {"", "default"}
                    if others - set(family := text.get_fontfamily()):
                        text.set_fontfamily([*family, *sorted(others)])
                super().draw(renderer)

    return PlainTextFigure


def tidy(axis: "Axes") -> None:
    """Remove the top and right spine and mute the remaining ones."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(MUTED)
    axis.tick_params(colors=MUTED, labelsize=9)
    axis.xaxis.label.set_color(INK)
    axis.yaxis.label.set_color(INK)


def caption(figure: "Figure", text: str, *, n: int, synthetic: bool = False) -> None:
    """Write a caption below the figure: "n = 120 test images; 95% intervals; SYNTHETIC images".

    Args:
        figure: Its constrained layout makes room for the caption, which ends with the key of names that no font can
            show (`shown_names`), by their code points.
        text: Starts with what is counted, such as "test images; 95% intervals"; without full stop.
        n: Number of samples shown.
        synthetic: Whether the images are synthetic.
    """
    text = f"n = {n:,} {text}" + ("; SYNTHETIC images" if synthetic else "")
    key = name_key(figure)
    entries = [f"{number} = {' '.join(f'U+{ord(c):04X}' for c in name)}" for name, number in key.items()]
    if entries:
        more = f", … ({len(entries) - MAX_KEY} more)" if len(entries) > MAX_KEY else ""
        text += f"; names that no font here has: {', '.join(entries[:MAX_KEY])}{more}"
    figure.supxlabel(textwrap.fill(text, int(14 * figure.get_size_inches()[0])), fontsize=9, color=MUTED)


def curve_styles(count: int) -> list[tuple[str, str, str]]:
    """(colour, line style, marker) of `count` curves: all different up to 64, the first eight in all three."""
    pairs = itertools.product(range(len(STYLES)), range(len(PALETTE)))
    styles = [(PALETTE[k], *STYLES[(k + shift) % len(STYLES)]) for shift, k in pairs]
    return list(itertools.islice(itertools.cycle(styles), count))


def class_colours(labels: NDArray[np.int64], classes: Sequence[str]) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """Assign colours to classes: (name, colour, mask bool [N]), in drawing order, the background first.

    If there are more classes than colours, the smallest classes share a grey. Unlabelled samples are paler, unless
    nothing is labelled.

    Args:
        labels: int64 [N]; -1 means unlabelled; lower values are in no group.
        classes: Names that the labels index into.
    """
    present, counts = np.unique(labels[labels >= 0], return_counts=True)
    by_size = present[np.argsort(-counts, kind="stable")]
    coloured = by_size if len(by_size) <= len(PALETTE) else by_size[: len(PALETTE) - 1]
    groups = [
        (classes[label], colour, labels == label) for label, colour in zip(sorted(coloured), PALETTE, strict=False)
    ]
    others = (labels >= 0) & ~np.isin(labels, coloured)
    background = [
        ("unlabelled", "#DDDDDD" if len(present) else PALETTE[0], labels == -1),
        (f"{len(by_size) - len(coloured)} other classes", "#BBBBBB", others),
    ]
    # A class may have the name of the background
    background = [(f"({name})" if name in classes else name, colour, mask) for name, colour, mask in background]
    return [group for group in background if group[2].any()] + groups


def chance_line(axis: "Axes", classes: int) -> None:
    """Draw the accuracy at chance level, in %, as a dotted line with a legend entry."""
    axis.axhline(100 / classes, color=MUTED, linewidth=1, linestyle=(0, (1, 2)), label=CHANCE)


def legend_entries(axis: "Axes") -> "tuple[list[Artist], list[str]]":
    """Handles and labels of an axis, the chance level last."""
    entries = sorted(zip(*axis.get_legend_handles_labels(), strict=True), key=lambda entry: entry[1] == CHANCE)
    return [handle for handle, _ in entries], [label for _, label in entries]


def legend_above(figure: "Figure", handles: "Sequence[Artist]", labels: Sequence[str]) -> None:
    """Add a legend above all axes, with at most four columns, and fewer if the labels are long.

    Beyond three rows the figure grows with the legend, so that the axes keep their height.
    """
    letters = 13 * figure.get_size_inches()[0]
    columns = int(np.clip(letters / (max(map(len, labels)) + 8), 1, 4))
    figure.set_figheight(figure.get_figheight() + 0.21 * max(0, -(-len(labels) // columns) - 3))
    figure.legend(
        handles, labels, loc="outside upper center", ncols=columns, frameon=False, fontsize=9, markerscale=1.5,
        handletextpad=0.4, columnspacing=1.2,
    )  # fmt: skip


def repeats_text(count: int | str) -> str:
    """What a mean is over, for captions."""
    return "1 repeat" if count == 1 else f"means over {count} repeats, 95% intervals"


def displayed(image: NDArray[Any]) -> NDArray[Any]:
    """What to show of an image [C, H, W]: grey [H, W], colours [H, W, 3]; of another number of channels their mean."""
    if len(image) == 3:
        return np.moveaxis(image, 0, -1)
    return image.mean(0).astype(image.dtype) if len(image) > 1 else image[0]


def thumbnail(axis: "Axes", image: NDArray[np.uint8], text: str = "", colour: str | None = None) -> None:
    """Show an image uint8 [C, H, W] with an optional text below it and an optional coloured frame."""
    axis.imshow(displayed(image), cmap="grey", vmin=0, vmax=255)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(colour is not None)
    if colour:
        axis.spines[:].set(color=colour, linewidth=2)
    if text:
        axis.set_xlabel(text, fontsize=7, labelpad=2, color=MUTED)
