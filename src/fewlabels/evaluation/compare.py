"""Compare several networks: the same labels and test images for all, paired differences."""

import itertools
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fewlabels.core.atomic_io import write_text
from fewlabels.core.errors import UserError
from fewlabels.evaluation.analyses.class_distances import distances_text
from fewlabels.evaluation.analyses.label_efficiency import SETTINGS
from fewlabels.evaluation.context import EvaluationContext, load_context
from fewlabels.evaluation.report import Section, Table, label_efficiency_table, provenance_table, write_report
from fewlabels.evaluation.result import MAX_CLASSES, UNTRAINED
from fewlabels.figures.heatmaps import distances_figure
from fewlabels.figures.label_efficiency import label_efficiency_figure
from fewlabels.probing.class_geometry import class_distances
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.intervals import MEAN, SESSION, format_interval, format_session, interval, welch
from fewlabels.probing.label_efficiency import label_efficiency
from fewlabels.probing.probes import TITLES
from fewlabels.training.run_dir import command_line, save_results

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)


def compare(settings: dict[str, Any], directory: Path) -> None:
    """Compare several runs, or groups of runs; write label_efficiency.csv, figures, results.json and report.html.

    Args:
        settings: As in conf/evaluate.yaml; `run` is a list of runs, or of lists of runs: the runs of a method.
        directory: Where to write.

    Raises:
        UserError: A run cannot be loaded, or the runs do not share their test images.
    """
    members = [runs if isinstance(runs, list) else [runs] for runs in settings["run"]]
    runs = list(itertools.chain.from_iterable(members))
    names = short_names(runs)
    contexts = {name: load_context(settings | {"run": run}) for name, run in zip(names, runs, strict=True)}
    first = contexts[names[0]]
    sources = {name: same_samples(name, context, first) for name, context in contexts.items()}
    pool, test = sources[names[0]]
    sources[UNTRAINED] = first.embed(first.untrained, pool.index), first.embed(first.untrained, test.index)
    table = label_efficiency(sources, **{name: settings[name] for name in SETTINGS})
    groups = named_groups([[names.pop(0) for _ in group] for group in members], contexts)
    shown = table if len(groups) == len(contexts) else group_means(table, groups)
    figure = label_efficiency_figure(
        shown, classes=len(np.unique(pool.labels[pool.labels >= 0])), tested=len(test), population=first.population,
        draws=settings["draws"], runs=max(map(len, groups.values())), synthetic=first.data.synthetic,
    )  # fmt: skip
    curves = {"label_efficiency": (figure, "Balanced accuracy against the number of labels")}
    distances, heatmaps = compare_distances(
        {name: both[1] for name, both in sources.items()}, settings, synthetic=first.data.synthetic
    )
    save(table, curves | heatmaps, directory)
    seeds = {name: context.method.seed for name, context in contexts.items()}
    sentences = summary_sentences(table) if shown is table else group_sentences(table, groups, seeds)
    tables = [(label_efficiency_table if shown is table else group_table)(shown, p) for p in table["probe"].unique()]
    sections = [Section("Label efficiency", list(curves.values()), tables),
                Section("Embedding space", list(heatmaps.values()), [distances] if heatmaps else [])]  # fmt: skip
    _write_report(directory, contexts, sentences, sections)


def _write_report(
    directory: Path, contexts: dict[str, EvaluationContext], sentences: list[str], sections: list[Section]
) -> None:
    first = next(iter(contexts.values()))
    provenance = Section("Provenance", tables=describe_all(contexts), code=[command_line()])
    write_report(
        directory / "report.html", title=f"{len(contexts)} networks on {first.population}",
        subtitle=f"Compared {datetime.now().astimezone():%Y-%m-%d %H:%M}; the same labels for all", sentences=sentences,
        sections=[*sections, provenance], synthetic=first.data.synthetic,
    )  # fmt: skip
    for sentence in sentences:
        log.info(sentence)


def save(table: "pd.DataFrame", figures: dict[str, tuple["Figure", str]], directory: Path) -> None:
    """Write figures, label_efficiency.csv, and its means to results.json."""
    (directory / "figures").mkdir(parents=True, exist_ok=True)
    for name, (figure, _) in figures.items():
        figure.savefig(directory / "figures" / f"{name}.png", dpi=150)
    write_text(directory / "label_efficiency.csv", table.to_csv(index=False))
    means: dict[Any, float] = table.groupby(["source", "probe", "labels"])["balanced_accuracy"].mean().to_dict()
    save_results({f"{source}/{probe}_{labels}": value for (source, probe, labels), value in means.items()}, directory)


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
    """For each probe the best of the single checkpoints at about 90 labels, and its lead over each, paired by draw."""
    sentences = []
    for probe, budget, rows in _shown_budgets(table):
        by_repeat = rows.pivot(index="repeat", columns="source", values="balanced_accuracy")
        scores = {str(source): 100 * by_repeat[source].to_numpy() for source in by_repeat}
        order = sorted(scores, key=lambda source: -scores[source].mean())
        mean, half = interval(scores[order[0]])
        session = format_session(scores[order[0]] / 100)
        spread = "" if session == "–" else f" ({SESSION} {session}%)"
        leads = [_lead(*interval(scores[order[0]] - scores[source]), source) for source in order[1:]]
        sentences.append(
            f"{TITLES[probe].capitalize()}, {budget} labels: {order[0]} has the highest balanced accuracy (best of "
            f"{len(order)}), {format_interval(mean, half)}%{spread}; {'; '.join(leads)}. One pretraining run each, "
            f"with {MEAN}s over draws of labels: this says nothing about other seeds."
        )
    return sentences


def _shown_budgets(table: "pd.DataFrame") -> Iterator[tuple[str, int, "pd.DataFrame"]]:
    """Each probe with the budget nearest to 90 labels, and its rows; the budget of all labels has a single repeat."""
    for probe, rows in table.groupby("probe", sort=False):
        repeated = rows[rows["repeat"] > 0]["labels"]
        budget = min((repeated if len(repeated) else rows["labels"]).unique(), key=lambda n: (abs(n - 90), n))
        yield str(probe), int(budget), rows[rows["labels"] == budget]


def _lead(gain: float, error: float, source: str) -> str:
    note = " (no interval)" if np.isnan(error) else "" if gain > error else " (no clear difference)"
    return f"{format_interval(gain, error, '+')} points over {source}{note}"


def named_groups(members: list[list[str]], contexts: dict[str, EvaluationContext]) -> dict[str, list[str]]:
    """Name groups of networks by their methods, where these differ, else by their first networks."""
    methods = ["+".join(dict.fromkeys(contexts[name].description["method"] for name in group)) for group in members]
    titles = [group[0] + (f" and {len(group) - 1} more" if group[1:] else "") for group in members]
    if len(set(methods)) == len(methods):
        titles = [f"{m} ({len(g)} run{'s' if g[1:] else ''})" for m, g in zip(methods, members, strict=True)]
    return dict(zip(titles, members, strict=True))


def group_means(table: "pd.DataFrame", groups: dict[str, list[str]]) -> "pd.DataFrame":
    """As `table`, but a source is a group and a repeat is one of its runs, with its mean over draws of labels."""
    import pandas as pd

    means = table.groupby(["source", "probe", "labels"], sort=False)["balanced_accuracy"].mean()
    rows = [
        (group, probe, labels, number, means[name, probe, labels])
        for group, names in (groups | {UNTRAINED: [UNTRAINED]}).items()
        for probe in table["probe"].unique() for labels in table.loc[table["probe"] == probe, "labels"].unique()
        for number, name in enumerate(names)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["source", "probe", "labels", "repeat", "balanced_accuracy"])


def group_table(means: "pd.DataFrame", probe: str) -> Table:
    """The means over the runs of each group with their 95% intervals over runs: a row per label budget."""
    rows, sources = means[means["probe"] == probe], list(means["source"].unique())
    cells = []
    for labels, part in rows.groupby("labels"):
        scores = [100 * part.loc[part["source"] == source, "balanced_accuracy"].to_numpy() for source in sources]
        cells.append([f"{labels:,}", *(format_interval(*interval(values)) for values in scores)])
    caption = (
        f"{TITLES[probe].capitalize()}: balanced accuracy in %, mean over pretraining runs ± 95% interval over runs"
    )
    return Table(caption, ["labels", *sources], cells)


def group_sentences(table: "pd.DataFrame", groups: dict[str, list[str]], seeds: dict[str, int]) -> list[str]:
    """For each probe the best method at about 90 labels, and its lead over each other one.

    The replicates are pretraining runs, each with its mean over draws of labels. Two methods are compared run by run
    where their runs have the same seeds, each once; else by Welch's interval.
    """
    sentences = []
    for probe, budget, rows in _shown_budgets(table):
        means = 100 * rows.groupby("source")["balanced_accuracy"].mean()
        scores = {group: np.array([means[name] for name in names]) for group, names in groups.items()}
        scores[UNTRAINED] = np.array([means[UNTRAINED]])
        order = sorted(scores, key=lambda group: -scores[group].mean())
        best = order[0]
        leads = []
        for other in order[1:]:
            one, two = ([seeds.get(name, -1) for name in groups.get(group, [])] for group in (best, other))
            if one and set(one) == set(two) and len(one) == len(two) == len(set(one)):
                gains = scores[best][np.argsort(one)] - scores[other][np.argsort(two)]
                leads.append(f"{_lead(*interval(gains), other)}, paired by seed")
            else:
                leads.append(f"{_lead(*welch(scores[best], scores[other]), other)}, unpaired")
        sentences.append(
            f"{TITLES[probe].capitalize()}, {budget} labels: {best} has the highest balanced accuracy, "
            f"{format_interval(*interval(scores[best]))}%; {'; '.join(leads)}. Intervals are over pretraining runs."
        )
    return sentences


def describe_all(contexts: dict[str, EvaluationContext]) -> list[Table]:
    """A table with a column of facts per run, and one of the machine and versions that compared them."""
    keys = list(dict.fromkeys(itertools.chain.from_iterable(c.description for c in contexts.values())))
    rows = [[key, *(str(context.description.get(key, "")) for context in contexts.values())] for key in keys]
    return [Table("", ["", *contexts], rows, text=True), provenance_table({})]
