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
from fewlabels.evaluation.analyses.label_efficiency import SETTINGS
from fewlabels.evaluation.context import EvaluationContext, load_context
from fewlabels.evaluation.groups import group_means, name_groups, replicated, summary_sentences
from fewlabels.evaluation.report import Section, Table, label_efficiency_table, provenance_table, write_report
from fewlabels.evaluation.result import MAX_CLASSES, save_figures
from fewlabels.figures.heatmaps import distances_figure
from fewlabels.figures.label_efficiency import label_efficiency_figure
from fewlabels.probing.class_geometry import class_distances
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.label_efficiency import label_efficiency
from fewlabels.training.run_dir import command_line, save_results

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)


def compare(settings: dict[str, Any], directory: Path) -> None:
    """Compare runs, or groups of runs; write label_efficiency.csv, figures, results.json and report.html.

    Args:
        settings: As in conf/evaluate.yaml; `run` is a list of runs, or of groups: lists of runs of several seeds.
        directory: Where to write.

    Raises:
        UserError: A run cannot be loaded, or the runs do not share their test images.
    """
    groups = name_groups(settings["run"])
    runs = [pair for members in groups.values() for pair in members.items()]
    contexts = {name: load_context(settings | {"run": run}, tested_only=True) for name, run in runs}
    sources, first = shared_samples(contexts), next(iter(contexts.values()))
    (pool, test), synthetic = next(iter(sources.values())), first.data.synthetic
    sources[first.start] = first.embed(first.untrained, pool.index), first.embed(first.untrained, test.index)
    single = label_efficiency(sources, **{name: settings[name] for name in SETTINGS})
    members = {group: list(names) for group, names in groups.items()} | {first.start: [first.start]}
    table = group_means(single, members) if replicated(groups) else single
    figure = label_efficiency_figure(
        table, classes=len(np.unique(pool.labels[pool.labels >= 0])), tested=len(test), population=first.population,
        draws=settings["draws"], runs=max(map(len, groups.values())), synthetic=synthetic,
    )  # fmt: skip
    curves = {"label_efficiency": (figure, "Balanced accuracy against the number of labels")}
    distances, heatmaps = compare_distances({n: both[1] for n, both in sources.items()}, settings, synthetic=synthetic)
    save(single, table, curves | heatmaps, directory)
    seeds = {group: [contexts[name].method.seed for name in names] for group, names in groups.items()}
    sentences = [*summary_sentences(table, seeds), *left_out_sentences(contexts, len(test))]
    tables = [label_efficiency_table(table, p, runs=replicated(groups)) for p in table["probe"].unique()]
    sections = [
        Section("Label efficiency", list(curves.values()), tables),
        Section("Embedding space", list(heatmaps.values()), [distances] if heatmaps else []),
        Section("Provenance", tables=describe_all(contexts), code=[command_line()]),
    ]
    write_report(
        directory / "report.html", title=f"{len(groups)} networks on {first.population}",
        subtitle=f"Compared {datetime.now().astimezone():%Y-%m-%d %H:%M}; the same labels for all", sentences=sentences,
        sections=sections, synthetic=synthetic,
    )  # fmt: skip
    log.info("\n".join(sentences))


def save(
    single: "pd.DataFrame", table: "pd.DataFrame", figures: dict[str, tuple["Figure", str]], directory: Path
) -> None:
    """Write label_efficiency.csv (a row per run and draw), the means of `table` to results.json, and the figures."""
    directory.mkdir(parents=True, exist_ok=True)
    write_text(directory / "label_efficiency.csv", single.to_csv(index=False))
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


def shared_samples(contexts: dict[str, EvaluationContext]) -> dict[str, tuple[Embeddings, Embeddings]]:
    """The pool and test embeddings of every network, of the same images and with the class numbers of the first run.

    Test images that any of the networks was trained on are left out for all.

    Raises:
        UserError: The runs have other images, classes or splits than the first, or no test image is left.
    """
    names = list(contexts)
    first = contexts[names[0]]
    shared = list({*first.test_embeddings.paths}.intersection(*(c.test_embeddings.paths for c in contexts.values())))
    reference = first.test_embeddings.select(np.isin(first.test_embeddings.paths, shared))
    sources = {}
    for name, context in contexts.items():
        pool, test = context.pool_embeddings, context.test_embeddings
        same = np.array_equal(pool.paths, first.pool_embeddings.paths) and np.array_equal(
            context.data.digests[pool.index], first.data.digests[first.pool_embeddings.index]
        )
        if not same or (len(test) and not shared and name != names[0]):
            raise UserError(
                f"{name} would be tested on {context.population}, {len(test)} images, which are not those of "
                f"{names[0]} ({first.population}, {len(first.test)} images). Set the same for all, such as "
                "data.unseen=[…] and data.split_seed=N."
            )
        kept = test.select(np.isin(test.paths, shared))
        # Runs with other seen classes number the same classes differently
        sources[name] = (replace(pool, labels=first.pool_embeddings.labels, classes=first.pool_embeddings.classes),
                         replace(kept, labels=reference.labels, classes=reference.classes))  # fmt: skip
    return sources


def left_out_sentences(contexts: dict[str, EvaluationContext], tested: int) -> list[str]:
    """How many test images of each network the comparison leaves out, because another was trained on them."""
    counts = {name: len(context.test) - tested for name, context in contexts.items()}
    others = ", ".join(f"{count:,} of {name}" for name, count in counts.items() if count)
    return [f"Test images left out, because another of the networks was trained on them: {others}."] if others else []


def describe_all(contexts: dict[str, EvaluationContext]) -> list[Table]:
    """A table with a column of facts per run, and one of the machine and versions that compared them."""
    keys = list(dict.fromkeys(itertools.chain.from_iterable(c.description for c in contexts.values())))
    rows = [[key, *(str(context.description.get(key, "")) for context in contexts.values())] for key in keys]
    return [Table("", ["", *contexts], rows, text=True), provenance_table({})]
