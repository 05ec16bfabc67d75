"""Compare several networks: the same labels and test images for all, paired differences."""

import itertools
import logging
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fewlabels.core.atomic_io import write_text
from fewlabels.core.errors import UserError
from fewlabels.evaluation.analyses.class_distances import distances_text
from fewlabels.evaluation.context import EvaluationContext, load_context
from fewlabels.evaluation.report import Section, Table, label_efficiency_table, provenance_table, write_report
from fewlabels.evaluation.result import MAX_CLASSES, UNTRAINED, save_figures
from fewlabels.figures.heatmaps import distances_figure
from fewlabels.figures.label_efficiency import label_efficiency_figure
from fewlabels.probing.class_geometry import class_distances
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.intervals import format_interval, interval
from fewlabels.probing.label_efficiency import label_efficiency
from fewlabels.probing.probes import TITLES
from fewlabels.training.run_dir import command_line, save_results

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)


def compare(settings: dict[str, Any], directory: Path) -> None:
    """Compare several runs; write label_efficiency.csv, figures, results.json and report.html.

    Args:
        settings: As in conf/evaluate.yaml; `run` is a list.
        directory: Where to write.

    Raises:
        UserError: A run cannot be loaded, or the runs do not share their test images.
    """
    names = short_names(settings["run"])
    contexts = {name: load_context(settings | {"run": run}) for name, run in zip(names, settings["run"], strict=True)}
    first = contexts[names[0]]
    sources = {name: same_samples(name, context, first) for name, context in contexts.items()}
    pool, test = sources[names[0]]
    sources[UNTRAINED] = first.embed(first.untrained, pool.index), first.embed(first.untrained, test.index)
    table = label_efficiency(sources, **{name: settings[name] for name in ("budgets", "probes", "repeats", "seed")})
    classes, synthetic = len(np.unique(pool.labels[pool.labels >= 0])), first.data.synthetic
    figure = label_efficiency_figure(
        table, classes=classes, tested=len(test), population=first.population, synthetic=synthetic
    )
    curves = {"label_efficiency": (figure, "Balanced accuracy against the number of labels")}
    distances, heatmaps = compare_distances({n: both[1] for n, both in sources.items()}, settings, synthetic=synthetic)
    save(table, curves | heatmaps, directory)
    sentences = summary_sentences(table)
    write_report(
        directory / "report.html", title=f"{len(contexts)} networks on {first.population}",
        subtitle=f"Compared {datetime.now().astimezone():%Y-%m-%d %H:%M}; the same labels for all", sentences=sentences,
        sections=[Section("Label efficiency", list(curves.values()),
                          [label_efficiency_table(table, probe) for probe in table["probe"].unique()]),
                  Section("Embedding space", list(heatmaps.values()), [distances] if heatmaps else []),
                  Section("Provenance", tables=describe_all(contexts), code=[command_line()])],
        synthetic=synthetic,
    )  # fmt: skip
    for sentence in sentences:
        log.info(sentence)


def save(table: "pd.DataFrame", figures: dict[str, tuple["Figure", str]], directory: Path) -> None:
    """Write label_efficiency.csv, its means to results.json, and the figures."""
    directory.mkdir(parents=True, exist_ok=True)
    write_text(directory / "label_efficiency.csv", table.to_csv(index=False))
    means: dict[Any, float] = table.groupby(["source", "probe", "labels"])["balanced_accuracy"].mean().to_dict()
    save_results({f"{source}/{probe}_{labels}": value for (source, probe, labels), value in means.items()}, directory)
    save_figures(figures, directory)


def compare_distances(
    sources: dict[str, Embeddings], settings: dict[str, Any], *, synthetic: bool
) -> tuple[Table, dict[str, tuple["Figure", str]]]:
    """How well each network separates the classes of the test images: a table, and a heat map per network."""
    figures, rows = {}, []
    for number, (name, part) in enumerate(sources.items(), 1):
        try:
            distances = class_distances(part, max_samples=settings["max_samples"], seed=settings["seed"])
        except UserError:  # fewer than two classes of two images each
            continue
        figure = distances_figure(*distances.largest(MAX_CLASSES), n=distances.n, text=distances_text(distances),
                                  synthetic=synthetic)  # fmt: skip
        figures[f"distances_{number}"] = (figure, f"Distances between classes: {name}")
        rows.append([name, f"{distances.silhouette:.2f}", f"{distances.ratio:.2f}"])
    caption = "Silhouette by angle (best 1), and mean angle within classes over mean angle between classes (best 0)"
    return Table(caption, ["network", "silhouette", "angle ratio"], rows), figures


def short_names(runs: list[str]) -> list[str]:
    """Name each run by the shortest end of its path that is unique among the runs.

    Raises:
        UserError: A run is given twice.
    """
    parts = [Path(run).absolute().parts for run in runs]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise UserError(f"run={','.join(runs)} gives a run twice. Give every run once.")


def same_samples(name: str, context: EvaluationContext, first: EvaluationContext) -> tuple[Embeddings, Embeddings]:
    """A run's pool and test embeddings, with the class numbers of the first run.

    Raises:
        UserError: They are not the images of the first run.
    """
    own, reference = ((c.pool_embeddings, c.test_embeddings) for c in (context, first))
    if any(not np.array_equal(part.paths, other.paths) for part, other in zip(own, reference, strict=True)):
        raise UserError(
            f"{name} would be tested on {context.population}, {len(own[1])} images, which are not those of the first "
            f"run ({first.population}, {len(reference[1])} images). Set the same for all, such as data.unseen=[…]."
        )
    # Runs with other seen classes number the same classes differently
    pool, test = (replace(part, labels=other.labels, classes=other.classes)
                  for part, other in zip(own, reference, strict=True))  # fmt: skip
    return pool, test


def summary_sentences(table: "pd.DataFrame") -> list[str]:
    """For each probe the best network at about 90 labels, and its paired lead over each other network."""
    repeated = table[table["repeat"] > 0]["labels"]  # the budget of all labels has a single repeat
    budget = min((repeated if len(repeated) else table["labels"]).unique(), key=lambda n: (abs(n - 90), n))
    sentences = []
    for probe, rows in table[table["labels"] == budget].groupby("probe", sort=False):
        scores = {s: 100 * r.sort_values("repeat")["balanced_accuracy"].to_numpy() for s, r in rows.groupby("source")}
        order = sorted(scores, key=lambda source: -scores[source].mean())
        mean, half = interval(scores[order[0]])
        leads = []
        for source in order[1:]:
            gain, error = interval(scores[order[0]] - scores[source])
            note = " (no interval)" if np.isnan(error) else "" if gain > error else " (no clear difference)"
            leads.append(f"{format_interval(gain, error, '+')} points over {source}{note}")
        sentences.append(
            f"{TITLES[str(probe)].capitalize()}, {budget} labels: {order[0]} is best with balanced accuracy "
            f"{format_interval(mean, half)}%; {'; '.join(leads)}."
        )
    return sentences


def describe_all(contexts: dict[str, EvaluationContext]) -> list[Table]:
    """A table with a column of facts per run, and one of the machine and versions that compared them."""
    keys = list(dict.fromkeys(itertools.chain.from_iterable(c.description for c in contexts.values())))
    rows = [[key, *(str(context.description.get(key, "")) for context in contexts.values())] for key in keys]
    return [Table("", ["", *contexts], rows, text=True), provenance_table({})]
