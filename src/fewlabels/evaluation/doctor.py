"""`doctor`: what is in a folder of images, what looks wrong, and what to type: doctor.html and findings.csv."""

import csv
import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.atomic_io import write_text
from fewlabels.core.errors import UserError
from fewlabels.data.base import ImageDataModule
from fewlabels.data.doctor.findings import Finding, class_of, examine
from fewlabels.evaluation.report import Section, Table, provenance_table, write_report
from fewlabels.figures.dataset import counts_figure, examples_figure, sizes_figure
from fewlabels.figures.galleries import contact_sheet
from fewlabels.training.build import build_data, compose_pretraining

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)
EXAMPLES = 20
"""Images or pairs that are shown of a finding."""
NAME_LENGTH = 14
MAX_UNREADABLE = 100
PER_CLASS, MAX_CLASSES = 8, 20
"""Of the figure of examples."""


def doctor(settings: dict[str, Any], directory: Path) -> None:
    """Examine a folder of images, and write doctor.html and findings.csv.

    Args:
        settings: `data`, overrides such as data.root=FOLDER; and `seed`.
        directory: Where to write.

    Raises:
        UserError: The images cannot be read; or, when all is written, something must be decided.
    """
    data = open_images(settings["data"])
    findings = examine(data)
    page = directory / "doctor.html"
    write_text(directory / "findings.csv", _findings_table(data, findings))
    _write_page(page, data, findings, settings["seed"])
    for finding in findings:
        log.info("%s (%s): %s%s", finding.name, f"{finding.number:,}", finding.text, _remedy(finding))
    log.info("Look at them: %s", page)
    if open_questions := [finding for finding in findings if finding.decide]:
        lines = "\n".join(f"- {f.name} ({f.number:,}): {f.remedy or f.text}" for f in open_questions)
        raise UserError(f"{_to_decide(findings)} See {page}\n{lines}")


def open_images(overrides: list[str]) -> ImageDataModule:
    """The data module that `overrides` name, set up; with data.root alone, data=images.

    Raises:
        UserError: They name points, or the images cannot be read.
    """
    named = overrides if any(override.startswith("data=") for override in overrides) else ["data=images", *overrides]
    data = build_data(compose_pretraining(["method=simclr", *named])["data"])
    if not isinstance(data, ImageDataModule):
        raise UserError(f"{' '.join(overrides)}: these are points. Give a folder of images, data.root=FOLDER.")
    data.setup()
    return data


def _to_decide(findings: list[Finding]) -> str:
    number = sum(finding.decide for finding in findings)
    return f"{number or 'Nothing'} {'things have' if number > 1 else 'thing has' if number else 'has'} to be decided."


def _remedy(finding: Finding) -> str:
    return f" → {finding.remedy}" if finding.remedy else ""


def _findings_table(data: ImageDataModule, findings: list[Finding]) -> str:
    """A row per image or pair: finding, path, other path."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("finding", "path", "other"))
    for finding in findings:
        for row in finding.rows:
            paths = [data.paths[number] for number in np.atleast_1d(row)]
            writer.writerow((finding.name, *paths, *[""] * (2 - len(paths))))
    return text.getvalue()


def _write_page(page: Path, data: ImageDataModule, findings: list[Finding], seed: int) -> None:
    labelled = int((data.labels >= 0).sum())
    rows = [
        [finding.name, f"{finding.number:,}", finding.text, finding.remedy, "yes" if finding.decide else ""]
        for finding in findings
    ]
    columns = ["finding", "number", "what it means", "what to do", "decide"]
    sections = [
        Section("Findings", tables=[Table("", columns, rows, text=True)] if rows else [], text=data.notices),
        *(_examples(data, finding) for finding in findings if len(finding.rows)),
        Section("Classes", figures=_class_figures(data, seed)),
        Section("Files", figures=_size_figures(data), tables=_file_tables(data)),
        Section("Settings", tables=[provenance_table({"folder": data.root, "images": f"{len(data.paths):,}"})]),
    ]
    sentences = [
        _to_decide(findings),
        f"{len(data.paths):,} images, {labelled:,} of them in {len(data.classes)} classes.",
    ]
    write_report(
        page, title="Images", subtitle=str(data.root or data.name), sentences=sentences, sections=sections,
        synthetic=data.synthetic,
    )  # fmt: skip


def _examples(data: ImageDataModule, finding: Finding) -> Section:
    """Images or pairs of a finding, each with its path or its class."""
    shown = finding.rows[:EXAMPLES].ravel()
    names = [_short(data.paths[row].rpartition("/")[2]) for row in shown]
    if finding.rows.ndim == 2:
        classes = class_of(data)
        names = [f"{name}\n{_short(classes[row])}" for name, row in zip(names, shown, strict=True)]
    kind = "pairs, one image beside the other" if finding.rows.ndim == 2 else "found"
    text = f"images; {min(EXAMPLES, len(finding.rows))} of {len(finding.rows):,} {kind}; all are in findings.csv"
    sheet = contact_sheet(data.images(shown).numpy(), names, text=text, synthetic=data.synthetic)
    return Section(finding.name, figures=[(sheet, finding.text)], text=[finding.remedy] if finding.remedy else [])


def _short(name: str) -> str:
    """The end of a name, which tells files apart, as far as it fits below a thumbnail."""
    return name if len(name) <= NAME_LENGTH else f"…{name[1 - NAME_LENGTH :]}"


def _class_figures(data: ImageDataModule, seed: int) -> "list[tuple[Figure, str]]":
    if not data.classes:
        return []
    figures = [(counts_figure(data.labels, data.classes, synthetic=data.synthetic), "Images of each class")]
    largest = np.argsort(-np.bincount(data.labels[data.labels >= 0], minlength=len(data.classes)))[:MAX_CLASSES]
    draw = np.random.default_rng(seed)
    chosen = np.concatenate([draw.permutation(np.flatnonzero(data.labels == label))[:PER_CLASS] for label in largest])
    place = {int(label): number for number, label in enumerate(largest)}
    labels = np.array([place[int(data.labels[row])] for row in chosen])
    names = [data.classes[label] for label in largest]
    drawn = examples_figure(data.images(chosen).numpy(), labels, names, synthetic=data.synthetic)
    return [*figures, (drawn, f"Examples of {'the largest' if len(data.classes) > MAX_CLASSES else 'all'} classes")]


def _file_tables(data: ImageDataModule) -> list[Table]:
    """Depths, sizes and pages; and files that are left out."""
    tables = []
    if (facts := data.file_facts) is not None and len(facts):
        sides = np.stack([facts["width"], facts["height"]], 1)
        depths = [f"{(facts['bits'] == bits).sum():,} of {bits} bits" for bits in np.unique(facts["bits"])]
        rows = [
            ["depth per channel", ", ".join(depths) + (f"; white is {data.white:,.0f}" if data.white else "")],
            ["longer side", "{:,.0f} to {:,.0f} px, median {:,.0f}".format(*_spread(sides.max(1)))],
            ["shorter side", "{:,.0f} to {:,.0f} px, median {:,.0f}".format(*_spread(sides.min(1)))],
            ["several pages or frames", f"{(facts['pages'] > 1).sum():,} files"],
        ]
        tables.append(Table("", ["", ""], rows, text=True))
    if left_out := list(data.unreadable.items()):
        more = f", {MAX_UNREADABLE} of {len(left_out):,}" if len(left_out) > MAX_UNREADABLE else ""
        rows = [[path, reason] for path, reason in left_out[:MAX_UNREADABLE]]
        tables.append(Table(f"Files that cannot be read{more}", ["file", "reason"], rows, text=True))
    return tables


def _spread(values: NDArray[np.uint32]) -> tuple[float, float, float]:
    return float(values.min()), float(values.max()), float(np.median(values))


def _size_figures(data: ImageDataModule) -> "list[tuple[Figure, str]]":
    if (facts := data.file_facts) is None:
        return []
    sizes = np.stack([facts["width"], facts["height"]], 1).astype(np.int64)
    chosen = np.random.default_rng(0).permutation(len(sizes))[:2000]
    figure = sizes_figure(sizes[chosen], used=data.size, synthetic=data.synthetic)
    return [(figure, f"Sizes of {'2,000 of the ' if len(sizes) > 2000 else ''}files")]
