"""report.html: a single file with its figures inside; it loads nothing from elsewhere."""

import base64
import io
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewlabels.core.atomic_io import write_text
from fewlabels.data.image_store.folder import processors
from fewlabels.probing.intervals import format_interval, interval
from fewlabels.probing.probes import TITLES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PACKAGES = ("fewlabels", "torch", "torchvision", "lightning", "scikit-learn", "umap-learn")
"""Packages whose versions the report lists."""
DPI = 110
"""Resolution of the figures in the report."""


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
    """

    name: str
    figures: Sequence[tuple["Figure", str]] = ()
    tables: Sequence[Table] = ()
    code: Sequence[str] = ()


def write_report(
    file: Path, *, title: str, subtitle: str, sentences: Iterable[str], sections: Iterable[Section], synthetic: bool
) -> None:
    """Render a report and write it atomically; empty sections are omitted.

    Args:
        file: Where to write.
        title: Heading of the page.
        subtitle: Below the heading.
        sentences: The main results, in a box at the top.
        sections: From top to bottom.
        synthetic: Whether the images are synthetic, which a banner then says.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    loader = PackageLoader("fewlabels.evaluation", "")
    environment = Environment(loader=loader, autoescape=select_autoescape(default=True), undefined=StrictUndefined)
    shown = [_template_values(section) for section in sections if section.figures or section.tables or section.code]
    page = environment.get_template("report.html.j2").render(
        title=title, subtitle=subtitle, sentences=list(sentences), sections=shown, synthetic=synthetic
    )
    write_text(file, page)


def _template_values(section: Section) -> dict[str, Any]:
    """What the template needs of a section."""
    return {
        "name": section.name,
        "id": "".join(c if c.isalnum() else "-" for c in section.name.lower()),
        "figures": [{"data": _base64_png(figure), "caption": caption} for figure, caption in section.figures],
        "tables": section.tables,
        "code": section.code,
    }


def _base64_png(figure: "Figure") -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return base64.b64encode(buffer.getvalue()).decode()


def label_efficiency_table(table: "pd.DataFrame", probe: str) -> Table:
    """Mean balanced accuracy of one probe with its 95% interval: a row per label budget, a column per source."""
    rows = table[table["probe"] == probe]
    sources = list(rows["source"].unique())
    cells = []
    for labels, part in rows.groupby("labels"):
        scores = [100 * part.loc[part["source"] == source, "balanced_accuracy"] for source in sources]
        cells.append([f"{labels:,}", *(format_interval(*interval(values)) for values in scores)])
    caption = f"{TITLES[probe].capitalize()}: balanced accuracy in %, mean ± 95% interval"
    return Table(caption, ["labels", *sources], cells)


def provenance_table(values: Mapping[str, Any]) -> Table:
    """A table of names and values, with the machine and the versions of packages added."""
    import torch

    gpu = f"{torch.cuda.device_count()} × {torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    values = {
        **values,
        "machine": f"{gpu}{processors()} CPU cores, {system}",
        "versions": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }
    return Table("", ["", ""], [[name, str(value)] for name, value in values.items()], text=True)
