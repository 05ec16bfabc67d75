"""Groups of runs in a comparison: their names, their means over pretraining seeds, and who leads by how much."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fewlabels.core.atomic_io import spelled
from fewlabels.core.errors import UserError
from fewlabels.probing.intervals import SESSION, format_interval, format_session, interval, lead
from fewlabels.probing.probes import TITLES

if TYPE_CHECKING:
    import pandas as pd


def name_groups(runs: Sequence[str | Sequence[str]]) -> dict[str, dict[str, str]]:
    """Name every run, and every group by what the names of its runs begin with.

    Args:
        runs: As in the setting `run`; a run that is in no list is a group of its own.

    Returns:
        Name of a group to {name of a run: the run}.

    Raises:
        UserError: A run is given twice, or a group is empty.
    """
    groups = [[run] if isinstance(run, str) else [*run] for run in runs]
    if not all(groups):
        raise UserError(f"run={runs}: a group is empty. Give the runs of each group, as run=[[A0,A1],[B0,B1]].")
    names = iter(short_names([run for group in groups for run in group]))
    named = [{next(names): run for run in group} for group in groups]
    firsts = [next(iter(members)) for members in named]
    stems = [_common_start([*members]) or first for members, first in zip(named, firsts, strict=True)]
    stems = stems if len({*stems}) == len(stems) else firsts
    titles = [
        first if len(members) == 1 else f"{stem} ({len(members)} runs)"
        for members, first, stem in zip(named, firsts, stems, strict=True)
    ]
    return dict(zip(titles, named, strict=True))


def _common_start(names: Sequence[str]) -> str:
    """What all names begin with, without digits and signs at its end: "simclr" of simclr-0 and simclr-1."""
    columns = itertools.takewhile(lambda column: len({*column}) == 1, zip(*names, strict=False))
    return "".join(column[0] for column in columns).rstrip("0123456789=-_./ ")


def short_names(runs: Sequence[str]) -> list[str]:
    """Name each run by the shortest end of its path that is unique among the runs.

    Raises:
        UserError: A run is given twice.
    """
    parts = [Path(run).absolute().parts for run in runs]
    for length in range(1, max(map(len, parts)) + 1):
        names = [spelled("/".join(part[-length:])) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise UserError(f"run={','.join(runs)} gives a run twice. Give every run once.")


def replicated(groups: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether any group has several runs, so that pretrainings and not draws of labels are the replicates."""
    return any(len(members) > 1 for members in groups.values())


def group_means(table: "pd.DataFrame", groups: Mapping[str, Sequence[str]]) -> "pd.DataFrame":
    """Replace the draws of each run by their mean: the runs of a group become its repeats.

    Args:
        table: Columns source (a run), probe, labels, repeat and balanced_accuracy.
        groups: Name of a group to its runs, in the order of their seeds.

    Returns:
        The same columns; source is a group, and repeat the position of a run in it.
    """
    import pandas as pd

    place = {run: (group, number) for group, runs in groups.items() for number, run in enumerate(runs)}
    means = table.groupby(["source", "probe", "labels"], sort=False)["balanced_accuracy"].mean().reset_index()
    repeats = [place[run][1] for run in means["source"]]
    sources = [place[run][0] for run in means["source"]]
    return pd.DataFrame({
        "source": sources, "probe": means["probe"], "labels": means["labels"], "repeat": repeats,
        "balanced_accuracy": means["balanced_accuracy"],
    })  # fmt: skip


def summary_sentences(table: "pd.DataFrame", seeds: Mapping[str, Sequence[int]]) -> list[str]:
    """For each probe who leads at about 90 labels, and by how much; and what the intervals are over.

    Leads are paired by draw, or by seed where groups of runs have the same seeds; else unpaired (Welch).

    Args:
        table: Of draws of labels, or as `group_means` returns it.
        seeds: Name of a group to the seeds of its runs; sources that are not in it, such as the baseline, have none.
    """
    groups = any(len(members) > 1 for members in seeds.values())
    sentences = []
    for probe, every in table.groupby("probe", sort=False):
        repeated = every[every["repeat"] > 0]["labels"]  # the budget of all labels has a single draw
        budget = min((repeated if len(repeated) else every["labels"]).unique(), key=lambda n: (abs(n - 90), n))
        rows = every[every["labels"] == budget]
        scores = {s: 100 * r.sort_values("repeat")["balanced_accuracy"].to_numpy() for s, r in rows.groupby("source")}
        order = sorted(scores, key=lambda source: -scores[source].mean())
        best = order[0]
        leads = []
        for source in order[1:]:
            draws = range(len(scores[best]))  # the same for all single checkpoints
            pairs = (seeds.get(best, ()), seeds.get(source, ())) if groups else (draws, draws)
            gain, _ = lead(scores[best], scores[source], pairs)
            note = " (no interval)" if not gain.known else "" if gain.low > 0 else " (no clear difference)"
            leads.append(f"{format_interval(gain, '+')} points over {source}{note}")
        session = "–" if groups else format_session(scores[best] / 100)
        spread = "" if session == "–" else f" ({SESSION} {session}%)"
        sentences.append(
            f"{TITLES[str(probe)].capitalize()}, {budget} labels: {best} has the highest balanced accuracy, "
            f"{format_interval(interval(scores[best]))}%{spread}; {'; '.join(leads)}."
        )
    return [*sentences, replicates_sentence(seeds)]


def replicates_sentence(seeds: Mapping[str, Sequence[int]]) -> str:
    """What the intervals of a comparison are over, and what they therefore say nothing about."""
    counts = [len(members) for members in seeds.values()]
    if max(counts) > 1:
        single = f" {counts.count(1)} of the groups is a single run, without an interval." if 1 in counts else ""
        return f"Intervals are over pretrainings: each value is a run's mean over the draws of labels.{single}"
    return (
        f"The best of {len(counts)} single checkpoints: intervals are over draws of labels, one pretraining each, and "
        "say nothing about other seeds. Compare groups, run=[[A0,A1,A2],[B0,B1,B2]], to compare methods."
    )
