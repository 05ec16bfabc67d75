"""Evaluate one network: run every analysis, write figures, tables, results and report.html."""

import logging
import shlex
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from fewlabels.core.atomic_io import write_text
from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import is_images
from fewlabels.evaluation.context import EvaluationContext, load_context
from fewlabels.evaluation.report import Section, Table, label_efficiency_table, provenance_table, write_report
from fewlabels.evaluation.result import SECTIONS, Analysis, AnalysisResult, save_figures
from fewlabels.training.build import instantiate_node
from fewlabels.training.loggers import silence_libraries
from fewlabels.training.run_dir import command_line, program, recorded_command, save_results
from fewlabels.training.wandb_runs import amend_wandb_run

log = logging.getLogger(__name__)


def evaluate(settings: dict[str, Any], directory: Path) -> None:
    """Evaluate one network; write embeddings, figures, tables, results.json and report.html.

    Args:
        settings: As in conf/evaluate.yaml, in plain containers.
        directory: Where to write: the run directory, or another one for other data.

    Raises:
        UserError: There is no such checkpoint, its network cannot take the images, or its training diverged.
        Exception: An analysis has a bug; raised once the results of the others are written.
    """
    silence_libraries()
    nodes = settings.get("analyses") or {}  # analyses=[] leaves no node
    analyses = [instantiate_node(node, f"analyses.{name}") for name, node in nodes.items() if node]
    context = load_context(settings)
    result, sections, left_out = run_analyses(context, analyses)
    left_out += save(context, result, directory)
    write_report(
        directory / "report.html", title=context.title,
        subtitle=f"Evaluated {datetime.now().astimezone():%Y-%m-%d %H:%M}; {directory}",
        sentences=[*result.sentences, *(n for n in context.data.notices if not n.startswith("SYNTHETIC"))],
        sections=report_sections(context, result, sections, left_out), synthetic=context.data.synthetic,
    )  # fmt: skip
    pictures = {name: directory / "figures" / f"{name}.png" for name in result.figures}
    tables = result.tables | {"embeddings": context.sample_table(settings["seed"])}
    amend_wandb_run(directory, metrics=result.metrics, pictures=pictures, tables=tables)
    for sentence in [*result.sentences, *(f"Left out: {title}. {reason}" for title, reason in left_out)]:
        log.info(sentence)
    if result.errors:
        raise result.errors[0]


def run_analyses(
    context: EvaluationContext, analyses: Iterable[Analysis]
) -> tuple[AnalysisResult, dict[str, list[str]], list[tuple[str, str]]]:
    """Run the analyses of the data's modality, in the order of their sections.

    Returns:
        All results together; the names of the figures of each section; (title, reason) of the analyses, or parts of
        them, that are left out.
    """
    together = AnalysisResult()
    sections: dict[str, list[str]] = {name: [] for name in SECTIONS}
    left_out: list[tuple[str, str]] = []
    chosen = [analysis for analysis in analyses if analysis.modality == context.data.modality]
    for analysis in sorted(chosen, key=lambda a: SECTIONS.index(a.section) if a.section in SECTIONS else len(SECTIONS)):
        try:
            result = analysis.run(context)
        except UserError as error:
            left_out.append((analysis.title, str(error)))
            continue
        except Exception as error:  # a bug, which must not cost the results of the other analyses
            log.exception("%s failed.", analysis.title)
            left_out.append((analysis.title, f"Failed, which is a bug: {type(error).__name__}: {error}"))
            together.errors.append(error)
            continue
        together.metrics |= result.metrics
        together.figures |= result.figures
        together.tables |= result.tables
        together.sentences += result.sentences
        left_out += [(analysis.title, reason) for reason in result.left_out]
        sections.setdefault(analysis.section, []).extend(result.figures)
    return together, sections, left_out


def save(context: EvaluationContext, result: AnalysisResult, directory: Path) -> list[tuple[str, str]]:
    """Write embeddings.parquet, tables and results.json, and then the figures.

    Returns:
        (title, reason) of figures that could not be drawn, which are taken out of `result`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    context.embeddings.save(directory / "embeddings.parquet", context.provenance)
    for name, table in result.tables.items():
        write_text(directory / f"{name}.csv", table.to_csv(index=False))
    save_results(context.results | result.metrics, directory)
    failures = save_figures(result.figures, directory)
    captions = [result.figures.pop(name)[1] for name in failures]
    return [(caption, f"Could not be drawn: {why}") for caption, why in zip(captions, failures.values(), strict=True)]


def report_sections(
    context: EvaluationContext, result: AnalysisResult, figures: dict[str, list[str]], left_out: list[tuple[str, str]]
) -> list[Section]:
    """Build the sections of the report, from top to bottom."""
    efficiency = result.tables.get("label_efficiency")
    tables: dict[str, list[Table]] = {}
    if efficiency is not None:
        tables["Label efficiency"] = [label_efficiency_table(efficiency, p) for p in efficiency["probe"].unique()]
    missing = [Table("", ["", ""], [[title, reason] for title, reason in left_out], text=True)] if left_out else []
    drawn = {name: [result.figures[f] for f in names if f in result.figures] for name, names in figures.items()}
    return [
        *([next_steps(context)] if is_images(context.data) and not (context.embeddings.labels >= 0).any() else []),
        *(Section(name, pictures, tables.get(name, [])) for name, pictures in drawn.items()),
        Section("Left out", tables=missing),
        Section("Provenance", tables=[provenance_table(context.description)], code=[command_line()]),
    ]


def next_steps(context: EvaluationContext) -> Section:
    """What to do with images of which none is labelled: how to label some, and the commands to run then."""
    root, total, settings = context.image_data.root, len(context.embeddings), context.settings
    tested = len(context.data.indices("test"))
    network = settings["run"] or settings["checkpoint"]
    command = recorded_command(context.description["checkpoint"].parent.parent)
    data = [part for part in shlex.split(command) if part.startswith(("data=", "data."))]
    checked = not any(notice.startswith("Not checked") for notice in context.data.notices)
    evaluation = [f"run={settings['run']}"] if settings["run"] else [f"checkpoint={network}"]
    evaluation += [f"orientations={settings['orientations']}"] if settings["orientations"] > 1 else []
    text = [
        f"None of the {total:,} images has a label, so this page cannot say how few labels are enough. Label some: in "
        f"{root}, make a folder for each class and move images of the class into it, 20 of each, say. Leave all others "
        "where they are: images in no folder stay unlabelled.",
        f"Accuracy is measured on the labelled ones of the {tested:,} test images"
        f"{', which pretraining did not see' if checked else ''}; probes learn from those of the training images. The "
        "column split of embeddings.parquet says which is which: label images of both.",
        "Then evaluate again, for accuracy against the number of labels, or finetune a classifier:",
    ]
    commands = [
        shlex.join([*_program("evaluate"), *evaluation, *settings["data"]]),
        shlex.join([*_program("finetune"), *data, *settings["data"], f"checkpoint={network}"]),
    ]
    return Section("What to do next", text=text, code=commands)


def _program(command: str) -> list[str]:
    """How this program would be started for another command."""
    *start, last = program(command)
    return [*start, last.replace("evaluate", command)]
