"""report.html: a single file with its figures inside; it loads nothing from elsewhere."""

import base64
import hashlib
import io
import logging
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.atomic_io import spelled, write_text
from fewlabels.data.image_store.parallel import processors
from fewlabels.figures.embedding_plots import HoverImages, hover_of
from fewlabels.figures.names import name_key, one_line
from fewlabels.figures.style import displayed
from fewlabels.probing.intervals import MEAN, SESSION, format_interval, format_session, interval
from fewlabels.probing.probes import TITLES
from fewlabels.training.provenance import versions

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

WIDTH = 1920
"""Of pictures in pixels: twice that of the text column, so that they are sharp on all screens and on paper."""
MAX_PNG = 400_000
"""Bytes; larger pictures, which are galleries, become WebP."""
TILE = 64
"""Side of the images that appear under the pointer, in pixels, at most."""

log = logging.getLogger(__name__)


@dataclass
class Table:
    """A table of a report.

    Attributes:
        caption: Above the table; may be empty.
        columns: Headings; if all are empty, there is no heading row.
        rows: Cells, as many per row as there are columns.
        text: Whether cells hold text, which is aligned left and wraps, and not numbers.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: bool = False


@dataclass
class Section:
    """A section of a report.

    Attributes:
        name: Heading.
        figures: (figure, caption).
        tables: Below the figures.
        code: Commands, below the tables.
        text: Paragraphs, above the figures.
    """

    name: str
    figures: Sequence[tuple["Figure", str]] = ()
    tables: Sequence[Table] = ()
    code: Sequence[str] = ()
    text: Sequence[str] = ()


def write_report(
    file: Path, *, title: str, subtitle: str, sentences: Iterable[str], sections: Iterable[Section], synthetic: bool
) -> None:
    """Render a report and write it atomically; empty sections are omitted.

    Args:
        file: Where to write.
        title: Heading of the page.
        subtitle: Below the heading.
        sentences: The main results, in a box at the top, the answer first.
        sections: From top to bottom.
        synthetic: Whether the images are synthetic, which a banner then says.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    loader = PackageLoader("fewlabels.evaluation", "")
    environment = Environment(loader=loader, autoescape=select_autoescape(default=True), undefined=StrictUndefined,
                              finalize=lambda value: spelled(value) if type(value) is str else value)  # fmt: skip
    environment.filters["sha256"] = lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    filled = (s for s in sections if s.figures or s.tables or s.code or s.text)
    shown = [_template_values(section) for section in filled]
    page = environment.get_template("report.html.j2").render(
        title=title, subtitle=subtitle, sentences=list(sentences), sections=shown, synthetic=synthetic
    )
    write_text(file, page)


def _template_values(section: Section) -> dict[str, Any]:
    """What the template needs of a section."""
    return {
        "name": section.name,
        "id": "".join(c if c.isalnum() else "-" for c in section.name.lower()),
        "text": section.text,
        "figures": [_picture(figure, caption) for figure, caption in section.figures],
        "tables": section.tables,
        "code": section.code,
    }


def _picture(figure: "Figure", caption: str) -> dict[str, Any]:
    """What the template needs of a figure; a figure that cannot be drawn is logged, and the page says so."""
    key = "; ".join(f"{number} = {name}" for name, number in name_key(figure).items())
    values: dict[str, Any] = {"caption": caption, "key": key, "error": "", "hover": None}
    try:
        values |= {"data": _data_uri(figure), "inches": round(float(figure.get_figwidth()), 2)}
        if found := hover_of(figure):
            values["hover"] = _hover_values(*found)
    except Exception as error:  # one figure must not cost the page
        log.exception("The figure %r could not be drawn.", caption)
        values["error"] = f"This figure could not be drawn: {type(error).__name__}: {error}"
    return values


def _data_uri(figure: "Figure") -> str:
    """A figure as PNG or, if that is large, as WebP."""
    from PIL import Image

    dpi = min(WIDTH / figure.get_figwidth(), 300)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    if buffer.tell() > MAX_PNG:
        smaller = io.BytesIO()
        Image.open(buffer).convert("RGB").save(smaller, "webp", quality=85)
        return _base64("webp", smaller)
    return _base64("png", buffer)


def _base64(kind: str, buffer: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _hover_values(hover: HoverImages, places: "NDArray[np.float64]") -> dict[str, Any]:
    """All images in one picture, row by row, and for each its place in the figure and its text."""
    from PIL import Image

    columns, side = math.ceil(math.sqrt(len(places))), min(TILE, hover.images.shape[-1])
    sheet = Image.new("RGB", (columns * side, math.ceil(len(places) / columns) * side))
    for number, image in enumerate(hover.images):
        tile = Image.fromarray(displayed(image)).resize((side, side))
        sheet.paste(tile, (number % columns * side, number // columns * side))
    buffer = io.BytesIO()
    sheet.save(buffer, "webp", quality=75)
    data = {
        "columns": columns,
        "places": places.round(4).tolist(),
        "texts": [one_line(spelled(text)) for text in hover.texts],
    }
    return {"sheet": _base64("webp", buffer), "data": data, "columns": columns}


def label_efficiency_table(table: "pd.DataFrame", probe: str, *, runs: bool = False) -> Table:
    """Balanced accuracy of one probe with its intervals: a row per label budget, a column per source.

    Args:
        table: Columns source, probe, labels, repeat and balanced_accuracy (in [0, 1]).
        probe: One of its probes.
        runs: Whether repeats are pretrainings, which have no spread of one labelling session.
    """
    rows = table[table["probe"] == probe]
    sources = list(rows["source"].unique())
    cells = []
    for labels, part in rows.groupby("labels"):
        scores = [100 * part.loc[part["source"] == source, "balanced_accuracy"].to_numpy() for source in sources]
        cells.append([f"{labels:,}", *(_cell(values, session=not runs) for values in scores)])
    over = (
        "mean over pretrainings ± or [ends] 95% interval over these" if runs else f"mean ± or [ends] {MEAN} ({SESSION})"
    )
    caption = f"{TITLES[probe].capitalize()}: balanced accuracy in %, {over}"
    return Table(caption, ["labels", *sources], cells)


def _cell(values: NDArray[np.float64], *, session: bool) -> str:
    """Mean, its interval, and the spread of one labelling session, of values in %: "83.1 ± 0.9 (80.2–86.0)"."""
    spread = format_session(values / 100) if session else "–"
    return format_interval(interval(values)) + ("" if spread == "–" else f" ({spread})")


def provenance_table(values: Mapping[str, Any]) -> Table:
    """A table of names and values, with the machine and the versions of packages added."""
    import torch

    gpu = f"{torch.cuda.device_count()} × {torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    system = f"{platform.system()} {platform.machine()}"
    values = {
        **values,
        "machine": f"{gpu}{processors()} CPU cores, {system}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
    }
    return Table("", ["", ""], [[name, str(value)] for name, value in values.items()], text=True)
