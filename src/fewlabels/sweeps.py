"""A sweep at a glance: sweep.csv, a heat map, curves, and sweep.html, which links every job.

Written anew whenever a job has ended, so that it is there however the sweep ends.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from markupsafe import Markup
from omegaconf import DictConfig

from fewlabels import jobs
from fewlabels.errors import UserError
from fewlabels.files import write_whole
from fewlabels.jobs import FAILED, FINISHED, UNFINISHED, Job

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


class Summary(Callback):
    """Writes a page about a sweep whenever one of its jobs has ended.

    A subclass names its `page` and writes it.
    """

    page = ""

    def write(self, sweep: Path) -> bool:
        """Write the page into the sweep's directory; whether there was anything to write."""
        raise NotImplementedError

    def on_job_end(self, config: DictConfig, job_return: Any, **_: Any) -> None:
        """Write what is known after it."""
        self._write(config)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write it once more, and say where."""
        if self._write(config):
            print(Path(config.hydra.sweep.dir) / self.page)  # noqa: T201 - the contract's last line

    def _write(self, config: DictConfig) -> bool:
        if config.hydra.mode != RunMode.MULTIRUN:
            return False
        try:
            return self.write(Path(config.hydra.sweep.dir))
        except UserError as error:
            log.error("%s", error)  # noqa: TRY400 - no traceback for what is no defect
        except Exception:  # a summary must not end a sweep
            log.exception("The summary of the sweep could not be written.")
        return False


class SweepReport(Summary):
    """Keep sweep.csv, figures and sweep.html up to date.

    Args:
        metric: What jobs are compared by, as results.json calls it: measured on held-out data, since it is chosen by.
    """

    page = "sweep.html"

    def __init__(self, metric: str) -> None:
        self.metric = metric

    def write(self, sweep: Path) -> bool:
        """Write them."""
        return write_sweep(sweep, self.metric)


def write_sweep(sweep: Path, metric: str) -> bool:
    """Write sweep.csv, sweep.html and figures; nothing where no job has begun."""
    found = jobs.read_jobs(sweep)
    if not found:
        return False
    keys = jobs.varied(found)
    table = as_table(found, keys, metric)
    write_whole(sweep / "sweep.csv", table.to_csv(index=False))
    figures = draw(found, keys, metric)
    (sweep / "figures").mkdir(exist_ok=True)
    for name, (figure, _) in figures.items():
        figure.savefig(sweep / "figures" / f"{name}.png", dpi=150)
    _write_page(sweep, found, keys, metric, list(figures.values()))
    return True


def as_table(found: list[Job], keys: list[str], metric: str) -> "pd.DataFrame":
    """One row per job: its number, what sets it apart, its state, the metric, every other result, and its error."""
    import pandas as pd

    rows = []
    for job in found:
        own = {key: job.overrides.get(key, "") for key in keys}
        first = {"job": job.directory.name, **own, "state": job.state, metric: job.results.get(metric)}
        rest = {name: value for name, value in job.results.items() if name != metric}
        rows.append(first | rest | {"error": job.error.partition("\n")[0]})
    return pd.DataFrame(rows)


def draw(found: list[Job], keys: list[str], metric: str) -> dict[str, tuple[Any, str]]:
    """A heat map where exactly two settings beside the seed vary, and the curves of all jobs."""
    from fewlabels.figures.sweeps import curves_figure, heat_figure

    done = [job for job in found if metric in job.results]
    synthetic = any(is_synthetic(job.directory) for job in found)
    figures: dict[str, tuple[Any, str]] = {}
    axes = [key for key in keys if key != "seed"]
    if len(axes) == 2 and done:
        rows, columns = (sorted({job.overrides[key] for job in found}, key=_as_number) for key in axes)
        values = np.full((len(rows), len(columns)), np.nan)
        for (r, row), (c, column) in ((a, b) for a in enumerate(rows) for b in enumerate(columns)):
            cell = [j.results[metric] for j in done if [j.overrides[key] for key in axes] == [row, column]]
            values[r, c] = np.mean(cell) if cell else np.nan
        text = "means over seeds" if "seed" in keys else "one seed each"
        figures["heat"] = (
            heat_figure(values, rows=(axes[0], rows), columns=(axes[1], columns), metric=metric, n=len(done), text=text,
                        synthetic=synthetic),
            f"{metric} over {axes[0]} and {axes[1]}",
        )  # fmt: skip
    if curves := {_name(job, keys): curve for job in found if len((curve := _curve(job, metric))[0])}:
        figures["curves"] = (curves_figure(curves, metric=metric, synthetic=synthetic), f"{metric} while training")
    return figures


def _curve(job: Job, metric: str) -> tuple[np.ndarray, np.ndarray]:
    import pandas as pd

    file = job.directory / "metrics.csv"
    table = pd.read_csv(file) if file.is_file() else pd.DataFrame()
    if metric not in table:
        return np.array([]), np.array([])
    table = table.dropna(subset=[metric])
    return table["step"].to_numpy(np.float64), table[metric].to_numpy(np.float64)


def _write_page(sweep: Path, found: list[Job], keys: list[str], metric: str, figures: list[tuple[Any, str]]) -> None:
    from fewlabels.report import Section, Table, facts, write_report
    from fewlabels.rundir import command_line

    states = {state: [job for job in found if job.state == state] for state in (FINISHED, UNFINISHED, FAILED)}
    done = sorted(states[FINISHED], key=lambda job: -job.results.get(metric, -np.inf))
    sentences = [f"{len(jobs)} {state}" for state, jobs in states.items() if jobs]
    sentences = [f"Of {len(found)} jobs that have begun: {', '.join(sentences)}."]
    if done and metric in done[0].results:
        sentences.append(f"Highest {metric}: {done[0].results[metric]:.4g} with {_name(done[0], keys)}.")
    columns = ["job", *keys, "state", metric]
    rows = [[_link(sweep, job), *(job.overrides.get(key, "") for key in keys), job.state,
             f"{job.results[metric]:.4g}" if metric in job.results else "–"] for job in found]  # fmt: skip
    errors = [[_link(sweep, job), job.error] for job in states[FAILED]]
    write_report(
        sweep / "sweep.html", title=f"Sweep of {' and '.join(keys) or 'one job'}", subtitle=str(sweep),
        sentences=sentences,
        sections=[Section("Over the settings", figures), Section("Jobs", tables=[Table("", columns, rows)]),
                  Section("Failed", tables=[Table("", ["job", "error"], errors, text=True)] if errors else []),
                  Section("With what", tables=[facts({})], code=[command_line()])],
        synthetic=any(is_synthetic(job.directory) for job in found),
    )  # fmt: skip


def _link(sweep: Path, job: Job) -> Markup:
    """A link to a job's report, or to its directory where there is none."""
    report = job.directory / "report.html"
    target = (report if report.is_file() else job.directory).relative_to(sweep)
    return Markup('<a href="{}">{}</a>').format(target, job.directory.name)


def _name(job: Job, keys: list[str]) -> str:
    return " ".join(f"{key.rpartition('.')[2]}={job.overrides.get(key)}" for key in keys) or f"job {job.directory.name}"


def _as_number(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return float("inf"), text


def is_synthetic(directory: Path) -> bool:
    """Whether a run's images were drawn by the program, as its log says."""
    log_file = directory / "run.log"
    return log_file.is_file() and "SYNTHETIC DATA" in log_file.read_text(errors="replace")
