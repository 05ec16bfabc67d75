"""Finetunings from several starts, side by side: the same labels for all, paired differences, one report."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import OmegaConf

from fewlabels import jobs
from fewlabels.fairness import MEASURES, answers, check_complete, check_labels, taught
from fewlabels.files import write_whole
from fewlabels.jobs import FINISHED, Job
from fewlabels.probes import interval, with_interval
from fewlabels.rundir import pretrained_by, run_of
from fewlabels.sweeps import Summary, is_synthetic

if TYPE_CHECKING:
    import pandas as pd

SCRATCH = "from scratch"
PAIRED = ("checkpoint", "backbone.weights", "data.label_fraction", "seed")
"""What a comparison is over; whatever else varies makes a start of its own."""
SHOWN = 0.1
"""The label fraction that bars, curves and confusions are drawn of, or the one nearest to it."""


class StartsReport(Summary):
    """Keep starts.csv, figures and report.html of a sweep over `checkpoint` up to date, in the sweep's directory."""

    page = "report.html"

    def write(self, sweep: Path) -> bool:
        """Compare what is finished; nothing where `checkpoint` and `backbone.weights` do not vary."""
        return write_comparison(sweep)


def write_comparison(sweep: Path) -> bool:
    """Write starts.csv, report.html and figures, if at least two starts have finished.

    Raises:
        UserError: A job's files are missing or damaged, or two starts of one draw were taught or tested with other
            images.
    """
    found = [job for job in jobs.read_jobs(sweep) if job.state == FINISHED]
    if not found or not {"checkpoint", "backbone.weights"} & set(jobs.varied(found)):
        return False
    if any(
        OmegaConf.select(jobs.read_config(job.directory), "callbacks.predictions", default=0) is None for job in found
    ):
        return False  # asked to leave none
    check_complete(found)
    table = as_table(found)
    check_labels(table)
    figures = draw(table)
    write_whole(sweep / "starts.csv", table.drop(columns="job").to_csv(index=False))
    (sweep / "figures").mkdir(exist_ok=True)
    for name, (figure, _) in figures.items():
        figure.savefig(sweep / "figures" / f"{name}.png", dpi=150)
    _write_page(sweep, table, list(figures.values()))
    return True


def as_table(found: list[Job]) -> "pd.DataFrame":
    """One row per finetuning: start, fraction, labels (how many), seed, the measures on the test part, and the job."""
    import pandas as pd

    rows = []
    apart = [key for key in jobs.varied(found) if key not in PAIRED]
    configs = [jobs.read_config(job.directory) for job in found]
    names = start_names(found, configs)
    for job, config, name in zip(found, configs, names, strict=True):
        name = " ".join([name, *(f"{key.rpartition('.')[2]}={job.overrides.get(key)}" for key in apart)])
        row = {"start": name, "fraction": config.data.label_fraction, "seed": config.seed,
               "labels": len(taught(job).splitlines())}  # fmt: skip
        rows.append(row | {name: job.results[f"test/{name}"] for name in MEASURES} | {"job": job})
    table = pd.DataFrame(rows)
    order = dict.fromkeys([SCRATCH, *table["start"]])
    known = [name for name in order if name in set(table["start"])]
    table["start"] = pd.Categorical(table["start"], known)
    return table.sort_values(["start", "fraction", "seed"]).astype({"start": str}).reset_index(drop=True)


def start_names(found: list[Job], configs: list[Any]) -> list[str]:
    """What to call what each finetuning began with; networks of one method go by where they lie, where that differs."""
    names = [start(job, config) for job, config in zip(found, configs, strict=True)]
    places: dict[str, set[str]] = {name: set() for name in names}
    for name, config in zip(names, configs, strict=True):
        places[name] |= {str(Path(config.checkpoint).resolve())} if config.checkpoint else set()
    apart = lambda name, path: f" ({os.path.relpath(Path(path).resolve(), os.path.commonpath(places[name]))})"  # noqa: E731
    return [
        name + (apart(name, config.checkpoint) if len(places[name]) > 1 else "")
        for name, config in zip(names, configs, strict=True)
    ]


def start(job: Job, config: Any) -> str:
    """What a finetuning began with."""
    if not config.checkpoint:
        return f"torchvision ({config.backbone.weights})" if config.backbone.get("weights") else SCRATCH
    drawn = is_synthetic(run_of(config.checkpoint)) and not is_synthetic(job.directory)  # else the whole page says so
    method = pretrained_by(config.checkpoint) or Path(config.checkpoint).name
    return f"after {method}{' on synthetic images' if drawn else ''}"


def draw(table: "pd.DataFrame") -> dict[str, tuple[Any, str]]:
    """Bars, learning curves and confusions at one fraction; the fractions, if there are several."""
    from fewlabels.figures.starts import bars_figure, confusions_figure, fractions_figure, learning_figure

    part = table[table["fraction"] == shown(table)]
    told = {name: [answers(job) for job in rows["job"]] for name, rows in part.groupby("start", sort=False)}
    names = sorted({path.partition("/")[0] for job in part["job"] for path in taught(job).splitlines()})
    tested = len(next(iter(told.values()))[0])
    text, synthetic = (
        f"{int(part['labels'].median()):,} labels",
        any(is_synthetic(job.directory) for job in part["job"]),
    )
    marks: dict[str, Any] = {"classes": len(names), "tested": tested, "synthetic": synthetic}
    figures = {"starts": (bars_figure(part, text=text, **marks), f"Test accuracy with {text}")}
    if table["fraction"].nunique() > 1:
        figures["fractions"] = (fractions_figure(table, **marks), "Test accuracy against the number of labels")
    curves = {str(name): [_curve(job) for job in rows["job"]] for name, rows in part.groupby("start", sort=False)}
    figures["learning"] = (learning_figure(curves, text=text, synthetic=synthetic), "While training")
    counts = {str(name): sum(_counted(answers, names) for answers in draws) for name, draws in told.items()}
    figures["confusions"] = (
        confusions_figure(counts, names, text=text, synthetic=synthetic),
        "Which is taken for which",
    )
    return figures


def shown(table: "pd.DataFrame") -> float:
    """The fraction nearest to `SHOWN`."""
    return float(min(table["fraction"].unique(), key=lambda fraction: abs(fraction - SHOWN)))


def _curve(job: Job) -> tuple[np.ndarray, np.ndarray]:
    import pandas as pd

    table = pd.read_csv(job.directory / "metrics.csv").dropna(subset=["val/balanced_accuracy"])
    return table["step"].to_numpy(np.float64), table["val/balanced_accuracy"].to_numpy(np.float64)


def _counted(answers: "pd.DataFrame", names: list[str]) -> Any:
    import pandas as pd

    return pd.crosstab(answers["class"], answers["told"]).reindex(index=names, columns=names, fill_value=0).to_numpy()


def gains(table: "pd.DataFrame", fraction: float) -> dict[str, tuple[float, float, int]]:
    """By how many points of accuracy each start beats the table's first, over the draws that both have finished.

    Returns:
        Start to (mean, half of its 95% interval, draws); nothing as long as the first one has no draw.
    """
    part = table[table["fraction"] == fraction].pivot(index="seed", columns="start", values="accuracy")
    order = [name for name in table["start"].unique() if name in part]
    if order[0] != table["start"].iloc[0]:
        return {}
    differences = {name: 100 * (part[name] - part[order[0]]).dropna().to_numpy() for name in order[1:]}
    return {name: (*interval(values), len(values)) for name, values in differences.items() if len(values)}


def sentences(table: "pd.DataFrame") -> list[str]:
    """The answer in words, at the fraction shown."""
    fraction = shown(table)
    part = table[table["fraction"] == fraction]
    first = part["start"].iloc[0]
    percent = lambda name: with_interval(*interval(100 * part.loc[part["start"] == name, "accuracy"].to_numpy()))  # noqa: E731
    said = [f"With {int(part['labels'].median()):,} labels ({100 * fraction:g}% of the training images) {first} "
            f"{percent(first)} % of the test images are told rightly."]  # fmt: skip
    for name, (gain, error, draws) in gains(table, fraction).items():
        verdict = "more" if gain > error else "fewer" if gain < -error else "no clear difference"
        over = f"over {draws} draws of labels, pair by pair: {verdict}" if draws > 1 else "with one draw of labels"
        said.append(f"{name[0].upper()}{name[1:]}: {percent(name)} %, {with_interval(gain, error, '+')} points {over}.")
    return said


def _write_page(sweep: Path, table: "pd.DataFrame", figures: list[tuple[Any, str]]) -> None:
    from fewlabels.report import Section, Table, facts, write_report
    from fewlabels.rundir import command_line

    rows = []
    for fraction in sorted(table["fraction"].unique()):
        part, found = table[table["fraction"] == fraction], gains(table, fraction)
        for name, own in part.groupby("start", sort=False):
            cells = [with_interval(*interval(100 * own[measure].to_numpy())) for measure in MEASURES]
            gain = with_interval(*found[str(name)][:2], "+") if name in found else ""
            rows.append(
                [f"{100 * fraction:g}%", str(int(own["labels"].median())), str(name), str(len(own)), *cells, gain]
            )
    heads = ["labels", "images", "start", "draws", "accuracy", "balanced accuracy", "macro F1", "calibration error",
             "gain"]  # fmt: skip
    write_report(
        sweep / "report.html", title="What does pretraining buy?", subtitle=str(sweep), sentences=sentences(table),
        sections=[Section("Starts", figures, [Table("All in %, on the test part, mean ± 95% interval; gain of accuracy "
                                                    "over the first start, pair by pair", heads, rows)]),
                  Section("With what", tables=[facts(_asked(table))], code=[command_line()])],
        synthetic=any(is_synthetic(job.directory) for job in table["job"]),
    )  # fmt: skip


def _asked(table: "pd.DataFrame") -> dict[str, Any]:
    config: Any = OmegaConf.load(table["job"].iloc[0].directory / "config.yaml")
    seconds = sum(job.results["seconds"] for job in table["job"])
    return {
        "data": f"{config.data.called}, {config.data.root or 'default root'}, {config.data.size} px",
        "backbone": config.backbone.name,
        "updates": f"{config.trainer.max_epochs} epochs of {config.data.steps_per_epoch} steps of "
        f"{config.data.batch_size} images",
        "finetunings": f"{len(table)}, {seconds / 60:.0f} minutes in all",
    }
