"""What all figures share: colours that the colour-blind can tell apart, sizes, and the caption."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
"""Up to 8 classes: seven colours of Okabe and Ito (2008), the faint yellow replaced by a brown."""
POSITIVE, NEGATIVE = PALETTE[0], "#C8442B"
CONTINUOUS = "viridis"
"""Lightness grows along it, so that it reads in grey too."""
INK, MUTED = "#222222", "#666666"


def new_figure(width: float, height: float) -> Any:
    """Make an empty matplotlib Figure of `width` × `height` inches that lays itself out; no window, no pyplot."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")


def tidy(axis: Any) -> None:
    """Take away the frame's upper and right side and quieten what remains."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(MUTED)
    axis.tick_params(colors=MUTED, labelsize=9)
    axis.xaxis.label.set_color(INK)
    axis.yaxis.label.set_color(INK)


def caption(figure: Any, text: str, *, n: int, synthetic: bool = False) -> None:
    """Write n, what the figure needs said, and whether the data are synthetic, below the figure.

    Args:
        figure: With the constrained layout of `new_figure`, which makes room.
        text: Without full stop; may be empty.
        n: How many samples are shown.
        synthetic: The images were drawn by the program.
    """
    parts = [f"n = {n:,}", text, "SYNTHETIC images, drawn by the program" if synthetic else ""]
    said = "; ".join(part for part in parts if part)
    figure.supxlabel(textwrap.fill(said, int(14 * figure.get_size_inches()[0])), fontsize=9, color=MUTED)


def class_colours(labels: NDArray[np.int64], classes: Sequence[str]) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """Who is drawn how: (name, colour, mask bool [N]), what is least important first; labels below -1 are not drawn.

    More classes than colours: the largest keep a colour of their own, the rest are drawn together in grey, since
    nobody can tell sixty colours apart.
    """
    found, counts = np.unique(labels[labels >= 0], return_counts=True)
    order = found[np.argsort(-counts, kind="stable")]
    own = order if len(order) <= len(PALETTE) else order[: len(PALETTE) - 1]
    drawn = [(classes[label], colour, labels == label) for label, colour in zip(sorted(own), PALETTE, strict=False)]
    rest = (labels >= 0) & ~np.isin(labels, own)
    few = [("unlabelled", "#DDDDDD", labels == -1), (f"{len(order) - len(own)} other classes", "#BBBBBB", rest)]
    return [group for group in few if group[2].any()] + drawn


def legend_above(figure: Any, handles: Sequence[Any], labels: Sequence[str], columns: int = 4) -> None:
    """A legend of its own above all axes, where it covers nothing."""
    figure.legend(
        handles, labels, loc="outside upper center", ncols=columns, frameon=False, fontsize=9, markerscale=1.5,
        handletextpad=0.4, columnspacing=1.2,
    )  # fmt: skip


def thumbnail(axis: Any, image: NDArray[np.uint8], text: str = "", colour: str | None = None) -> None:
    """Show one image uint8 [C, H, W] without axes, a caption below it and a frame if it has a colour."""
    axis.imshow(np.moveaxis(image, 0, -1).squeeze(), cmap="grey", vmin=0, vmax=255)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(colour is not None)
    if colour:
        axis.spines[:].set(color=colour, linewidth=2)
    if text:
        axis.set_xlabel(text, fontsize=7, labelpad=2, color=MUTED)


def shortened(name: str, length: int = 22) -> str:
    """A name that fits: its words cut short from the first on if need be, underscores read as spaces."""
    name = name.encode(errors="replace").decode()  # bytes that are no UTF-8
    words = name.replace("_", " ").split()
    for number in range(len(words) - 1):
        if len(" ".join(words)) > length:
            words[number] = f"{words[number][:4]}." if len(words[number]) > 5 else words[number]
    name = " ".join(words)
    return name if len(name) <= length else f"{name[: length - 1]}…"
