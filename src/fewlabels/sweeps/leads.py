"""Which setting of a sweep leads, and by how much: no winner is named inside the noise."""

import numpy as np

from fewlabels.probing import intervals
from fewlabels.probing.intervals import Interval
from fewlabels.sweeps.jobs import Job

PROBE_METRICS = ("knn_accuracy", "linear_accuracy")
"""Metrics of the online probes: fractions of `val/probes_n` images."""


def comparison_sentences(finished: list[Job], keys: list[str], metric: str) -> list[str]:
    """Which setting leads, if the 95% interval of its lead over the second excludes 0; else among which none does.

    Seeds are the replicates where all settings compared have several. Else, for an accuracy of the online probes, the
    binomial error of the validation images is used, which knows nothing of other seeds.
    """
    groups: dict[str, list[Job]] = {}
    for job in (job for job in finished if metric in job.results):
        groups.setdefault(job_label(job, [key for key in keys if key != "seed"]), []).append(job)
    order = sorted(groups, key=lambda name: -_mean(groups[name], metric))
    if len(order) < 2:
        return [f"{metric}: {_mean(jobs, metric):.4g} ({len(jobs)} {'jobs' if jobs[1:] else 'job'})."
                for jobs in groups.values()]  # fmt: skip
    best = order[0]
    leads = {name: lead(groups[best], groups[name], metric) for name in order[1:]}
    gain, how = leads[order[1]]
    if gain.low > 0:
        return [f"{best} leads {order[1]} by {_text(gain)} in {metric} (95% interval {how})."]
    near = [best, *(name for name, (gain, _) in leads.items() if not gain.low > 0)]
    named = ", ".join(f"{name} ({_mean(groups[name], metric):.4g})" for name in near[:5])
    more = f" and {len(near) - 5} more" if len(near) > 5 else ""
    why = f"the 95% interval of the lead, {_text(gain)} {how}, holds 0" if gain.known else how
    return [f"No clear winner in {metric} among {named}{more}: {why}."]


def _text(gain: Interval) -> str:
    below, above = gain.sides
    symmetric = np.isclose(below, above)
    return f"{gain.mean:.3g} ± {above:.2g}" if symmetric else f"{gain.mean:.3g} [{gain.low:.3g}, {gain.high:.3g}]"


def lead(best: list[Job], other: list[Job], metric: str) -> tuple[Interval, str]:
    """Lead of a setting over another with its 95% interval, and what that is over."""
    gain = _mean(best, metric) - _mean(other, metric)
    values = [np.array([job.results[metric] for job in jobs]) for jobs in (best, other)]
    if min(map(len, values)) > 1:
        seeds = [[int(job.overrides.get("seed", 0)) for job in jobs] for jobs in (best, other)]
        found, paired = intervals.lead(values[0], values[1], (seeds[0], seeds[1]))
        if found.known:
            return found, f"over {len(best)} seeds, paired" if paired else "over seeds, unpaired"
        return found, "equal results of all seeds have no interval"
    if metric.removeprefix("val/") in PROBE_METRICS and all("val/probes_n" in job.results for job in best + other):
        half = 1.96 * float(np.sqrt(sum(_variance(jobs, metric) for jobs in (best, other))))
        return Interval.symmetric(
            gain, half
        ), f"by the {best[0].results['val/probes_n']:.0f} validation images, one seed"
    return Interval.symmetric(gain, float("nan")), "one seed each has no interval; sweep also seed=0,1,2"


def _mean(jobs: list[Job], metric: str) -> float:
    return float(np.mean([job.results[metric] for job in jobs]))


def _variance(jobs: list[Job], metric: str) -> float:
    """Variance of a setting's mean accuracy, with one more hit and miss each, so that it is above 0 at 100%.

    (Agresti and Caffo 2000.)
    """
    n = np.array([job.results["val/probes_n"] + 2 for job in jobs])
    p = (np.array([job.results[metric] for job in jobs]) * (n - 2) + 1) / n
    return float((p * (1 - p) / n).sum()) / len(jobs) ** 2


def job_label(job: Job, keys: list[str]) -> str:
    """The swept settings of a job, such as "temperature=0.1 batch_size=64"."""
    return " ".join(f"{key.rpartition('.')[2]}={job.overrides.get(key)}" for key in keys) or f"job {job.directory.name}"
