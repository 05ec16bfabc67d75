"""Several networks side by side: the same labels, the same questions, paired differences."""

import itertools
import logging
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fewlabels.embeddings import Embeddings
from fewlabels.errors import UserError
from fewlabels.evaluation import load
from fewlabels.figures.efficiency import efficiency_figure
from fewlabels.figures.matrices import distances_figure
from fewlabels.files import write_whole
from fewlabels.findings import Subject
from fewlabels.geometry import class_distances
from fewlabels.probes import TITLES, interval, label_efficiency
from fewlabels.questions import MAX_CLASSES, UNTRAINED
from fewlabels.report import Section, Table, efficiency_table, facts, write_report
from fewlabels.rundir import command_line, save_results

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def compare(settings: dict[str, Any], directory: Path) -> None:
    """Set several runs side by side and write table, figure and report into `directory`.

    Args:
        settings: As conf/evaluate.yaml describes them, `run` being a list.
        directory: Of the comparison.

    Raises:
        UserError: A run that cannot be loaded, or runs that are not asked about the same images.
    """
    subjects = {
        name: load(settings | {"run": run}) for name, run in zip(names(settings["run"]), settings["run"], strict=True)
    }
    first = next(iter(subjects.values()))
    sources = {name: asked_the_same(name, subject, first) for name, subject in subjects.items()}
    pool, asked = sources[next(iter(sources))]
    sources[UNTRAINED] = first.embed(first.untrained, pool.index), first.embed(first.untrained, asked.index)
    table = label_efficiency(sources, **{name: settings[name] for name in ("budgets", "probes", "draws", "seed")})
    classes, synthetic = len(np.unique(pool.labels[pool.labels >= 0])), first.datamodule.synthetic
    figure = efficiency_figure(table, classes=classes, tested=len(asked), where=first.where, synthetic=synthetic)
    curves = {"label_efficiency": (figure, "Accuracy against the number of labels")}
    apart, heats = geometry({name: both[1] for name, both in sources.items()}, settings, synthetic=synthetic)
    save(table, curves | heats, directory)
    tables = [efficiency_table(table, probe) for probe in table["probe"].unique()]
    write_report(
        directory / "report.html", title=f"{len(subjects)} networks on {first.where}",
        subtitle=f"Compared {datetime.now().astimezone():%Y-%m-%d %H:%M}; the same labels for all",
        sentences=verdicts(table),
        sections=[Section("Few labels", list(curves.values()), tables),
                  Section("The space", list(heats.values()), [apart] if heats else []),
                  Section("What was compared", tables=described(subjects), code=[command_line()])],
        synthetic=synthetic,
    )  # fmt: skip
    for sentence in verdicts(table):
        log.info(sentence)


def save(table: "pd.DataFrame", figures: dict[str, tuple[Any, str]], directory: Path) -> None:
    """Write figures, label_efficiency.csv, and its means to results.json."""
    (directory / "figures").mkdir(parents=True, exist_ok=True)
    for name, (figure, _) in figures.items():
        figure.savefig(directory / "figures" / f"{name}.png", dpi=150)
    write_whole(directory / "label_efficiency.csv", table.to_csv(index=False))
    means = table.groupby(["source", "probe", "labels"])["balanced_accuracy"].mean()
    numbers: dict[Any, float] = means.to_dict()
    save_results({f"{source}/{probe}_{labels}": value for (source, probe, labels), value in numbers.items()}, directory)


def geometry(
    sources: dict[str, Embeddings], settings: dict[str, Any], *, synthetic: bool
) -> tuple[Table, dict[str, tuple[Any, str]]]:
    """How well each network parts the classes that are to be told: a table, and a heat map of distances for each."""
    figures, rows = {}, []
    for number, (name, part) in enumerate(sources.items(), 1):
        try:
            found = class_distances(part, max_samples=settings["max_samples"], seed=settings["seed"])
        except UserError:  # too few images of a class to measure distances within it
            continue
        text = f"images; silhouette {found.silhouette:.2f}; angle within over between classes {found.ratio:.2f}"
        figure = distances_figure(*found.largest(MAX_CLASSES), n=found.n, text=text, synthetic=synthetic)
        figures[f"distances_{number}"] = (figure, f"Distances between classes: {name}")
        rows.append([name, f"{found.silhouette:.2f}", f"{found.ratio:.2f}"])
    caption = "Silhouette by angle (1 is best), and the mean angle within classes over that between classes (0 is best)"
    return Table(caption, ["network", "silhouette", "angle ratio"], rows), figures


def names(runs: list[str]) -> list[str]:
    """What to call each run: as little of the end of its path as tells them apart."""
    parts = [Path(run).absolute().parts for run in runs]
    for length in range(1, max(map(len, parts)) + 1):
        found = ["/".join(part[-length:]) for part in parts]
        if len(set(found)) == len(found):
            return found
    raise UserError(f"run={','.join(runs)} names a run twice.")


def asked_the_same(name: str, subject: Subject, first: Subject) -> tuple[Embeddings, Embeddings]:
    """A run's embeddings of what labels are drawn from, and of what is to be told, labelled as in the first run.

    Raises:
        UserError: They are not the images of the first run.
    """
    found = subject.everything.select(subject.pool), subject.everything.select(subject.asked)
    wanted = first.everything.select(first.pool), first.everything.select(first.asked)
    if any(not np.array_equal(one.paths, other.paths) for one, other in zip(found, wanted, strict=True)):
        raise UserError(
            f"{name} is asked about {subject.where}, {len(found[1])} images, which are not those of the first run "
            f"({first.where}, {len(wanted[1])} images). Name the same for all, such as data.unseen=[…]."
        )
    # Runs that saw other classes number the same classes differently
    one, other = (replace(mine, labels=theirs.labels, classes=theirs.classes)
                  for mine, theirs in zip(found, wanted, strict=True))  # fmt: skip
    return one, other


def verdicts(table: "pd.DataFrame") -> list[str]:
    """For each probe the best network at about 90 labels, and by how much it beats each other, draw by draw."""
    several = table[table["draw"] > 0]["labels"]  # of all labels there is one draw alone
    few = min((several if len(several) else table["labels"]).unique(), key=lambda n: (abs(n - 90), n))
    said = []
    for probe, rows in table[table["labels"] == few].groupby("probe", sort=False):
        scores = {s: 100 * r.sort_values("draw")["balanced_accuracy"].to_numpy() for s, r in rows.groupby("source")}
        order = sorted(scores, key=lambda source: -scores[source].mean())
        mean, half = interval(scores[order[0]])
        lead = []
        for source in order[1:]:
            gain, error = interval(scores[order[0]] - scores[source])
            lead.append(f"{gain:+.1f} ± {error:.1f} against {source}{'' if gain > error else ' (no clear difference)'}")
        name, others = TITLES[str(probe)].capitalize(), "; ".join(lead)
        said.append(f"{name}, {few} labels: {order[0]} is best with {mean:.1f} ± {half:.1f} %; {others}.")
    return said


def described(subjects: dict[str, Subject]) -> list[Table]:
    """What each run was, a column per run, and with what they were compared."""
    columns = list(dict.fromkeys(itertools.chain.from_iterable(s.described for s in subjects.values())))
    rows = [[key, *(str(subject.described.get(key, "")) for subject in subjects.values())] for key in columns]
    return [Table("", ["", *subjects], rows, text=True), facts({})]
