"""Intervals of repeated measurements: of their mean, and of one more measurement.

A test accuracy is measured for several independent draws of labels. Two questions have two intervals:

- "mean's 95% interval" (`interval`): where the mean over all possible draws lies. It narrows as draws are added.
- "one labelling session" (`session_spread`): where the accuracy of a person's single draw lies, 9 times out of 10. It
  does not narrow: labelling other images gives another accuracy.

All draws share one pool of labelled images and one test set, so both are statements about draws from this pool, tested
on these images; they do not contain what another test set, or another pretraining, would change.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

MEAN, SESSION = "mean's 95% interval", "one labelling session: 5–95% of draws"
"""Names of the two intervals in figures, tables and sentences."""
MIN_SKEWED = 10
"""Fewer values do not show how skewed they are."""


def interval(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """Mean and half-width of its 95% confidence interval, by Student's t; `MIN_SKEWED` values or more allow for skew.

    Accuracies of label draws have a long lower tail, since none exceeds what all labels give: with a skewness of -3,
    Student's interval of ten draws holds the mean 87 times in 100. Hall's cubic transformation of t removes the effect
    of the skewness, which is estimated from the values (Hall 1992, J. R. Stat. Soc. B 54, 221–228); the half-width is
    the longer side of that interval, but no more than `session_spread` has. Of symmetric values it is Student's.

    The half-width is NaN where no spread can be estimated: of one value, or of equal ones.
    """
    from scipy.stats import t

    values = np.asarray(values, np.float64)
    n, mean = len(values), float(values.mean())
    if n < 2 or np.ptp(values) == 0:
        return mean, float("nan")
    quantile = float(t.ppf(0.975, n - 1))
    if n >= MIN_SKEWED:
        skewness = float(((values - mean) ** 3).mean() / values.std() ** 3)
        longer = max(_untransformed(quantile, skewness, n), -_untransformed(-quantile, skewness, n))
        quantile = min(longer, float(t.ppf(0.95, n - 1)) * np.sqrt(n + 1))
    return mean, float(quantile * values.std(ddof=1) / np.sqrt(n))


def _untransformed(x: float, skewness: float, n: int) -> float:
    """The t whose transform is x: t + γ/(3√n) t² + γ²/(27n) t³ + γ/(6√n) (Hall 1992)."""
    ratio = skewness / np.sqrt(n)
    return x if abs(ratio) < 1e-6 else float(3 / ratio * (np.cbrt(1 + ratio * (x - ratio / 6)) - 1))


def session_spread(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """The 5–95% range of one more draw: a prediction interval, mean ± t · s · √(1 + 1/n), clipped to [0, 1].

    t is the 95% quantile of Student's t with n − 1 degrees of freedom and s the standard deviation (Hahn and Meeker
    1991, Statistical Intervals, §4.7). Empirical 5% and 95% quantiles would be too narrow: the range of ten draws from
    smallest to largest holds (n − 1) / (n + 1) = 82% of new ones, and quantiles within it fewer. That accuracies are
    about normal is an assumption; a simulation of label draws checks the coverage (benchmarks/interval_coverage.py).

    Args:
        values: Accuracies of independent draws, as fractions.

    Returns:
        Lower and upper end, as fractions; NaN where no spread can be estimated: of one value, or of equal ones.
    """
    from scipy.stats import t

    values = np.asarray(values, np.float64)
    if len(values) < 2 or np.ptp(values) == 0:
        return float("nan"), float("nan")
    half = t.ppf(0.95, len(values) - 1) * values.std(ddof=1) * np.sqrt(1 + 1 / len(values))
    return max(float(values.mean() - half), 0.0), min(float(values.mean() + half), 1.0)


def interval_table(table: "pd.DataFrame") -> "pd.DataFrame":
    """Both intervals of every cell of a label-efficiency table, as fractions; empty where there is none.

    Args:
        table: Columns source, probe, labels, repeat and balanced_accuracy.

    Returns:
        Columns source, probe, labels, draws, mean, mean_95_low, mean_95_high, session_5 and session_95.
    """
    import pandas as pd

    rows = []
    for key, part in table.groupby(["source", "probe", "labels"], sort=False):
        values = part["balanced_accuracy"].to_numpy()
        mean, half = interval(values)
        rows.append((*key, len(values), mean, mean - half, mean + half, *session_spread(values)))
    names = "source probe labels draws mean mean_95_low mean_95_high session_5 session_95"
    return pd.DataFrame(rows, columns=names.split())


def lead(
    one: Sequence[float] | NDArray[np.float64],
    other: Sequence[float] | NDArray[np.float64],
    seeds: tuple[Sequence[int], Sequence[int]],
) -> tuple[float, float, bool]:
    """Lead of one group of runs over another: paired by seed where both have the same seeds, each once; else Welch's.

    Args:
        one: A value per run.
        other: Of the other group.
        seeds: Of the runs of both groups.

    Returns:
        Difference of the means; half-width of its 95% interval, NaN if a group has a single run or no spread can be
        estimated; whether it is paired.
    """
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if len({*seeds[0]}) == len(one) == len(other) and {*seeds[0]} == {*seeds[1]}:
        return *interval(one[np.argsort(seeds[0])] - other[np.argsort(seeds[1])]), True
    return *welch(one, other), False


def welch(
    one: Sequence[float] | NDArray[np.float64], other: Sequence[float] | NDArray[np.float64]
) -> tuple[float, float]:
    """Difference of two means and half-width of its 95% interval, for unpaired values of unequal variance (Welch 1947).

    The half-width is NaN if either has a single value, or if all differences within both are 0.
    """
    from scipy.stats import ttest_ind

    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    gain = float(one.mean() - other.mean())
    if min(len(one), len(other)) < 2 or np.ptp(one) == np.ptp(other) == 0:
        return gain, float("nan")
    ends = ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    return gain, float(ends.high - ends.low) / 2


def format_interval(mean: float, half: float, sign: str = "") -> str:
    """Such as "83.1 ± 0.9"; "83.1 ± <0.1" if the interval is narrower than a decimal, "83.1" if there is none."""
    width = "" if np.isnan(half) else f" ± {half:.1f}" if half >= 0.05 else " ± <0.1"
    return f"{round(mean, 1) + 0.0:{sign}.1f}{width}"  # adding 0.0 turns -0.0 into 0.0


def format_session(values: Sequence[float] | NDArray[np.float64]) -> str:
    """The range of `session_spread` in %, such as "80.2–86.0"; "–" if there is none."""
    low, high = session_spread(values)
    return "–" if np.isnan(low) else f"{100 * low:.1f}–{100 * high:.1f}"
