"""Sweep summary: sweep.csv, a heat map, learning curves, and sweep.html with a link to every job.

Rewritten whenever a job ends, so that the summary exists however the sweep ends.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from fewlabels.core.atomic_io import write_text
from fewlabels.evaluation.result import save_figures
from fewlabels.sweeps.jobs import FAILED, FINISHED, UNFINISHED, Job, read_jobs, varied_keys
from fewlabels.sweeps.leads import comparison_sentences, job_label

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def write_summary(sweep: Path, *metrics: str) -> bool:
    """Write sweep.csv, figures and sweep.html; nothing if no job was started."""
    jobs = read_jobs(sweep)
    if not jobs:
        return False
    keys = varied_keys(jobs)
    metric = next((name for name in metrics if any(name in job.results for job in jobs)), metrics[-1])
    write_text(sweep / "sweep.csv", summary_table(jobs, keys, metric).to_csv(index=False))
    figures = summary_figures(jobs, keys, metric)
    save_figures(figures, sweep)  # the page says what could not be drawn
    _write_page(sweep, jobs, keys, metric, list(figures.values()))
    return True


def summary_table(jobs: list[Job], keys: list[str], metric: str) -> "pd.DataFrame":
    """One row per job: its number, its swept settings, state, the metric, all other results, error."""
    import pandas as pd

    rows = []
    for job in jobs:
        settings = {key: job.overrides.get(key, "") for key in keys}
        first = {"job": job.directory.name, **settings, "state": job.state, metric: job.results.get(metric)}
        others = {name: value for name, value in job.results.items() if name != metric}
        rows.append(first | others | {"error": job.error.partition("\n")[0]})
    return pd.DataFrame(rows)


def summary_figures(jobs: list[Job], keys: list[str], metric: str) -> dict[str, tuple[Any, str]]:
    """File name to (figure, caption): a heat map if exactly two settings beside the seed vary, and learning curves."""
    from fewlabels.figures.heatmaps import sweep_heatmap
    from fewlabels.figures.learning_curves import curves_figure

    finished = [job for job in jobs if metric in job.results]
    synthetic = any(is_synthetic(job.directory) for job in jobs)
    figures: dict[str, tuple[Any, str]] = {}
    axes = [key for key in keys if key != "seed"]
    if len(axes) == 2 and finished:
        rows, columns, values = _grid(jobs, finished, axes, metric)
        text = "means over seeds" if "seed" in keys else "one seed each"
        figures["heat"] = (
            sweep_heatmap(values, rows=(axes[0], rows), columns=(axes[1], columns), metric=metric, n=len(finished),
                          text=text, synthetic=synthetic),
            f"{metric} over {axes[0]} and {axes[1]}",
        )  # fmt: skip
    if curves := {job_label(job, keys): curve for job in jobs if len((curve := _curve(job, metric))[0])}:
        figures["curves"] = (curves_figure(curves, metric=metric, synthetic=synthetic), f"{metric} during training")
    return figures


def _grid(
    jobs: list[Job], finished: list[Job], axes: list[str], metric: str
) -> tuple[list[str], list[str], np.ndarray]:
    """The values of two settings, and the metric [R, C], averaged over seeds; NaN where no job has finished."""
    rows, columns = (sorted({job.overrides[key] for job in jobs}, key=_sort_key) for key in axes)
    values = np.full((len(rows), len(columns)), np.nan)
    for (r, row), (c, column) in ((a, b) for a in enumerate(rows) for b in enumerate(columns)):
        cell = [j.results[metric] for j in finished if [j.overrides[key] for key in axes] == [row, column]]
        values[r, c] = np.mean(cell) if cell else np.nan
    return rows, columns, values


def _curve(job: Job, metric: str) -> tuple[np.ndarray, np.ndarray]:
    import pandas as pd

    file = job.directory / "metrics.csv"
    table = pd.read_csv(file) if file.is_file() else pd.DataFrame()
    if metric not in table:
        return np.array([]), np.array([])
    table = table.dropna(subset=[metric])
    return table["step"].to_numpy(np.float64), table[metric].to_numpy(np.float64)


def _write_page(sweep: Path, jobs: list[Job], keys: list[str], metric: str, figures: list[tuple[Any, str]]) -> None:
    from fewlabels.evaluation.report import Section, Table, provenance_table, write_report
    from fewlabels.training.run_dir import command_line

    states = {state: [job for job in jobs if job.state == state] for state in (FINISHED, UNFINISHED, FAILED)}
    counts = ", ".join(f"{len(group)} {state}" for state, group in states.items() if group)
    sentences = [f"{len(jobs)} jobs started: {counts}."]
    sentences += comparison_sentences(states[FINISHED], keys, metric)
    rows = [[_link(sweep, job), *(job.overrides.get(key, "") for key in keys), job.state,
             f"{job.results[metric]:.4g}" if metric in job.results else "–"] for job in jobs]  # fmt: skip
    errors = [[_link(sweep, job), job.error] for job in states[FAILED]]
    write_report(
        sweep / "sweep.html", title=f"Sweep over {' and '.join(keys) or 'one job'}", subtitle=str(sweep),
        sentences=sentences,
        sections=[Section("Settings", figures),
                  Section("Jobs", tables=[Table("", ["job", *keys, "state", metric], rows)]),
                  Section("Failed jobs", tables=[Table("", ["job", "error"], errors, text=True)] if errors else []),
                  Section("Provenance", tables=[provenance_table({})], code=[command_line()])],
        synthetic=any(is_synthetic(job.directory) for job in jobs),
    )  # fmt: skip


def _link(sweep: Path, job: Job) -> Markup:
    """A link to a job's report, or to its directory if it has none."""
    report = job.directory / "report.html"
    target = (report if report.is_file() else job.directory).relative_to(sweep)
    return Markup('<a href="{}">{}</a>').format(target, job.directory.name)


def _sort_key(text: str) -> tuple[float, str]:
    """Numbers by value, then all else by name."""
    try:
        return float(text), text
    except ValueError:
        return float("inf"), text


def is_synthetic(directory: Path) -> bool:
    """Whether a run's images were synthetic, according to its log."""
    log_file = directory / "run.log"
    return log_file.is_file() and "SYNTHETIC DATA" in log_file.read_text(errors="replace")
