"""What all figures share: colours that the colour-blind can tell apart, sizes, and the caption."""

from typing import Any

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
    figure.supxlabel("; ".join(part for part in parts if part), fontsize=9, color=MUTED)
