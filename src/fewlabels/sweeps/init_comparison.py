"""Compare finetunings from several initial weights: the same labels for all, paired differences, one report."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fewlabels.core.atomic_io import write_text
from fewlabels.evaluation.result import save_figures
from fewlabels.probing.intervals import MEAN, SESSION, Interval, format_interval, format_session, interval
from fewlabels.sweeps.comparability import METRICS, check_complete, check_same_images, read_labelled, read_predictions
from fewlabels.sweeps.jobs import FINISHED, Job, read_config, read_jobs, varied_keys
from fewlabels.sweeps.summary import is_synthetic
from fewlabels.training.run_dir import pretraining_method, run_dir_of

if TYPE_CHECKING:
    import pandas as pd

SCRATCH = "from scratch"
COMPARED = ("checkpoint", "backbone.weights", "data.label_fraction", "seed")
"""Keys that a comparison spans; each value of any other swept key makes an init of its own."""
SHOWN_FRACTION = 0.1
"""The label fraction, or the nearest to it, of bar plots, learning curves and confusion matrices."""


def write_comparison(sweep: Path) -> bool:
    """Write init_comparison.csv, report.html and figures, if jobs with at least two inits have finished.

    Raises:
        UserError: A job's files are missing or damaged, or the inits of one repeat had other images.
    """
    jobs = [job for job in read_jobs(sweep) if job.state == FINISHED]
    if not jobs or not {"checkpoint", "backbone.weights"} & set(varied_keys(jobs)):
        return False
    if any(read_config(job.directory).get("callbacks", {}).get("predictions", 0) is None for job in jobs):
        return False  # callbacks.predictions=null
    check_complete(jobs)
    table = comparison_table(jobs)
    check_same_images(table)
    write_text(sweep / "init_comparison.csv", table.drop(columns="job").to_csv(index=False))
    figures = comparison_figures(table)
    save_figures(figures, sweep)  # the page says what could not be drawn
    _write_page(sweep, table, list(figures.values()))
    return True


def comparison_table(jobs: list[Job]) -> "pd.DataFrame":
    """One row per finetuning: init, fraction, seed, labels (how many), the test metrics, and the job."""
    import pandas as pd

    rows = []
    other_keys = [key for key in varied_keys(jobs) if key not in COMPARED]
    configs = [read_config(job.directory) for job in jobs]
    for job, config, name in zip(jobs, configs, init_names(jobs, configs), strict=True):
        init = " ".join([name, *(f"{key.rpartition('.')[2]}={job.overrides.get(key)}" for key in other_keys)])
        row = {"init": init, "fraction": config.data.label_fraction, "seed": config.seed,
               "labels": len(read_labelled(job).splitlines())}  # fmt: skip
        rows.append(row | {metric: job.results[f"test/{metric}"] for metric in METRICS} | {"job": job})
    table = pd.DataFrame(rows)
    order = dict.fromkeys([SCRATCH, *table["init"]])
    present = [name for name in order if name in set(table["init"])]
    table["init"] = pd.Categorical(table["init"], present)
    return table.sort_values(["init", "fraction", "seed"]).astype({"init": str}).reset_index(drop=True)


def init_names(jobs: list[Job], configs: list[Any]) -> list[str]:
    """Name each finetuning's initial weights; several networks of one method get their paths."""
    names = [init_name(job, config) for job, config in zip(jobs, configs, strict=True)]
    paths: dict[str, set[str]] = {name: set() for name in names}
    for name, config in zip(names, configs, strict=True):
        paths[name] |= {str(Path(config.checkpoint).resolve())} if config.checkpoint else set()

    def path_suffix(name: str, path: str) -> str:
        return f" ({os.path.relpath(Path(path).resolve(), os.path.commonpath(paths[name]))})"

    return [
        name + (path_suffix(name, config.checkpoint) if len(paths[name]) > 1 else "")
        for name, config in zip(names, configs, strict=True)
    ]


def init_name(job: Job, config: Any) -> str:
    """The initial weights of a finetuning, such as "after simclr" or "from scratch"."""
    if not config.checkpoint:
        return f"{config.backbone.weights} weights" if config.backbone.get("weights") else SCRATCH
    synthetic = is_synthetic(run_dir_of(config.checkpoint)) and not is_synthetic(job.directory)
    method = pretraining_method(config.checkpoint) or Path(config.checkpoint).name
    return f"after {method}{' on synthetic images' if synthetic else ''}"


def comparison_figures(table: "pd.DataFrame") -> dict[str, tuple[Any, str]]:
    """File name to (figure, caption): bars, learning curves, confusion matrices; accuracy over label fractions."""
    from fewlabels.figures.heatmaps import confusion_comparison_figure
    from fewlabels.figures.init_comparison import bars_figure, fractions_figure
    from fewlabels.figures.learning_curves import repeated_curves_figure

    part = table[table["fraction"] == shown_fraction(table)]
    predictions = {name: [read_predictions(job) for job in rows["job"]] for name, rows in _by_init(part)}
    columns = [table[name] for tables in predictions.values() for table in tables for name in ("class", "predicted")]
    classes = sorted(set().union(*columns))
    labels = f"{int(part['labels'].median()):,} labels"
    marks: dict[str, Any] = {
        "classes": len(classes), "tested": len(next(iter(predictions.values()))[0]),
        "synthetic": any(is_synthetic(job.directory) for job in part["job"]),
    }  # fmt: skip
    figures = {"init_comparison": (bars_figure(part, text=labels, **marks), f"Test accuracy with {labels}")}
    if table["fraction"].nunique() > 1:
        figures["fractions"] = (fractions_figure(table, **marks), "Test accuracy against the number of labels")
    curves = {name: [_learning_curve(job) for job in rows["job"]] for name, rows in _by_init(part)}
    figure = repeated_curves_figure(curves, text=labels, synthetic=marks["synthetic"])
    figures["learning_curves"] = (figure, "Validation accuracy during training")
    counts = {name: sum(_confusion(table, classes) for table in tables) for name, tables in predictions.items()}
    figure = confusion_comparison_figure(counts, classes, text=labels, synthetic=marks["synthetic"])
    figures["confusion_matrices"] = (figure, "Confusion matrices of the test images")
    return figures


def _by_init(table: "pd.DataFrame") -> list[tuple[str, "pd.DataFrame"]]:
    return [(str(name), rows) for name, rows in table.groupby("init", sort=False)]


def shown_fraction(table: "pd.DataFrame") -> float:
    """The label fraction nearest to `SHOWN_FRACTION`."""
    return float(min(table["fraction"].unique(), key=lambda fraction: abs(fraction - SHOWN_FRACTION)))


def _learning_curve(job: Job) -> tuple[np.ndarray, np.ndarray]:
    import pandas as pd

    table = pd.read_csv(job.directory / "metrics.csv").dropna(subset=["val/balanced_accuracy"])
    return table["step"].to_numpy(np.float64), table["val/balanced_accuracy"].to_numpy(np.float64)


def _confusion(table: "pd.DataFrame", classes: list[str]) -> Any:
    import pandas as pd

    counts = pd.crosstab(table["class"], table["predicted"])
    return counts.reindex(index=classes, columns=classes, fill_value=0).to_numpy()


def paired_gains(table: "pd.DataFrame", fraction: float) -> dict[str, tuple[Interval, int]]:
    """Accuracy gain of each init over the first, in points, over the repeats that both have finished.

    Returns:
        Init to (mean with its 95% interval, repeats); empty while the first init has no repeat.
    """
    part = table[table["fraction"] == fraction].pivot(index="seed", columns="init", values="accuracy")
    order = [name for name in table["init"].unique() if name in part]
    if order[0] != table["init"].iloc[0]:
        return {}
    differences = {name: 100 * (part[name] - part[order[0]]).dropna().to_numpy() for name in order[1:]}
    return {name: (interval(values), len(values)) for name, values in differences.items() if len(values)}


def summary_sentences(table: "pd.DataFrame") -> list[str]:
    """The result in sentences, at the fraction shown."""
    fraction = shown_fraction(table)
    part = table[table["fraction"] == fraction]
    first = part["init"].iloc[0]

    def accuracy(name: str) -> str:
        values = part.loc[part["init"] == name, "accuracy"].to_numpy()
        session = "" if format_session(values) == "–" else f" (one session {format_session(values)}%)"
        return f"{format_interval(interval(100 * values))}%{session}"

    sentences = [
        f"With {int(part['labels'].median()):,} labels ({100 * fraction:g}% of the training images), {first}: test "
        f"accuracy {accuracy(first)}."
    ]
    if " (one session" in sentences[0]:
        sentences[0] += f" ± or [ends] is the {MEAN}; one session is {SESSION}."
    for name, (gain, repeats) in paired_gains(table, fraction).items():
        verdict = "higher" if gain.low > 0 else "lower" if gain.high < 0 else "no clear difference"
        over = f"paired over {repeats} repeats: {verdict}" if repeats > 1 else "with one repeat"
        sentences.append(f"{name[0].upper()}{name[1:]}: {accuracy(name)}, {format_interval(gain, '+')} points {over}.")
    return sentences


def _write_page(sweep: Path, table: "pd.DataFrame", figures: list[tuple[Any, str]]) -> None:
    from fewlabels.evaluation.report import Section, Table, provenance_table, write_report
    from fewlabels.training.run_dir import command_line

    columns = ["labels", "images", "init", "repeats", "accuracy", "balanced accuracy", "macro F1", "calibration error",
               "gain"]  # fmt: skip
    caption = f"Test metrics in %, mean ± or [ends] {MEAN}; accuracy gain over the first init, paired"
    write_report(
        sweep / "report.html", title="Finetuning: comparison of initial weights", subtitle=str(sweep),
        sentences=summary_sentences(table),
        sections=[Section("Comparison", figures, [Table(caption, columns, _result_rows(table))]),
                  Section("Provenance", tables=[provenance_table(_settings(table))], code=[command_line()])],
        synthetic=any(is_synthetic(job.directory) for job in table["job"]),
    )  # fmt: skip


def _result_rows(table: "pd.DataFrame") -> list[list[str]]:
    rows = []
    for fraction in sorted(table["fraction"].unique()):
        part, gains = table[table["fraction"] == fraction], paired_gains(table, fraction)
        for name, own in _by_init(part):
            cells = [format_interval(interval(100 * own[metric].to_numpy())) for metric in METRICS]
            gain = format_interval(gains[name][0], "+") if name in gains else ""
            rows.append([f"{100 * fraction:g}%", str(int(own["labels"].median())), name, str(len(own)), *cells, gain])
    return rows


def _settings(table: "pd.DataFrame") -> dict[str, Any]:
    config: Any = read_config(table["job"].iloc[0].directory)
    seconds = sum(job.results["seconds"] for job in table["job"])
    return {
        "data": f"{config.data.name}, {config.data.root or 'default root'}, {config.data.size} px",
        "backbone": config.backbone.name,
        "updates": f"{config.trainer.max_epochs} epochs of {config.data.steps_per_epoch} steps of "
        f"{config.data.batch_size} images",
        "finetunings": f"{len(table)}, {seconds / 60:.0f} minutes in all",
    }
