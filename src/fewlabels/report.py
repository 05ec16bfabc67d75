"""report.html: one file that holds everything, its images inside it and nothing fetched."""

import base64
import io
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewlabels.files import write_whole
from fewlabels.probes import TITLES, interval

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = ("fewlabels", "torch", "torchvision", "lightning", "scikit-learn", "umap-learn")


@dataclass
class Table:
    """Rows of text under headings."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: bool = False


@dataclass
class Section:
    """A part of the page.

    Attributes:
        name: Its heading.
        figures: (matplotlib Figure, caption).
        tables: Below the figures.
        code: Commands, below the tables.
    """

    name: str
    figures: Sequence[tuple[Any, str]] = ()
    tables: Sequence[Table] = ()
    code: Sequence[str] = field(default_factory=tuple)


def write_report(
    file: Path, *, title: str, subtitle: str, sentences: Iterable[str], sections: Iterable[Section], synthetic: bool
) -> None:
    """Render the page and write it whole; sections with nothing in them are left out."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("fewlabels"), autoescape=select_autoescape(default=True), undefined=StrictUndefined
    )
    shown = [
        {
            "name": section.name,
            "id": "".join(c if c.isalnum() else "-" for c in section.name.lower()),
            "figures": [{"data": _png(figure), "caption": caption} for figure, caption in section.figures],
            "tables": section.tables,
            "code": section.code,
        }
        for section in sections
        if section.figures or section.tables or section.code
    ]
    page = environment.get_template("report.html.j2").render(
        title=title, subtitle=subtitle, sentences=list(sentences), sections=shown, synthetic=synthetic
    )
    write_whole(file, page)


def _png(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()


def efficiency_table(table: "pd.DataFrame", probe: str) -> Table:
    """Mean ± half the 95% interval of one probe: a row per number of labels, a column per source."""
    rows = table[table["probe"] == probe]
    sources = list(rows["source"].unique())
    cells = []
    for labels, part in rows.groupby("labels"):
        found = [interval(100 * part.loc[part["source"] == source, "balanced_accuracy"]) for source in sources]
        cells.append([f"{labels:,}", *(f"{mean:.1f} ± {half:.1f}" if half == half else f"{mean:.1f}"
                                       for mean, half in found)])  # fmt: skip
    return Table(
        f"{TITLES[probe].capitalize()}: balanced accuracy in %, mean ± 95% interval", ["labels", *sources], cells
    )


def facts(values: Mapping[str, Any]) -> Table:
    """What was run, on what, with what: a table of names and values, the machine and the versions among them."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    import torch

    gpu = f"{torch.cuda.device_count()} × {torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    machine = (
        f"{gpu}{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
    every = {**values, "machine": machine, "versions": versions}
    return Table("", ["", ""], [[name, str(value)] for name, value in every.items()], text=True)
