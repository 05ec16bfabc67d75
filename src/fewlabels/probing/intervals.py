"""Intervals of repeated measurements: of their mean, and of one more measurement.

A test accuracy is measured for several independent draws of labels. Two questions have two intervals:

- "mean's 95% interval" (`interval`): where the mean over all possible draws lies. It narrows as draws are added.
- "one labelling session" (`session_spread`): where the accuracy of a person's single draw lies, 9 times out of 10. It
  does not narrow: labelling other images gives another accuracy.

All draws share one pool of labelled images and one test set, so both are statements about draws from this pool, tested
on these images; they do not contain what another test set, or another pretraining, would change.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

MEAN, SESSION = "mean's 95% interval", "one labelling session: 5–95% of draws"
"""Names of the two intervals in figures, tables and sentences."""
MIN_SKEWED = 10
"""Fewer values do not show how skewed they are."""


class Interval(NamedTuple):
    """A mean and the ends of its 95% interval, which are NaN where no spread can be estimated."""

    mean: float
    low: float
    high: float

    @classmethod
    def symmetric(cls, mean: float, half: float) -> "Interval":
        """The interval mean ± half."""
        return cls(mean, mean - half, mean + half)

    @property
    def known(self) -> bool:
        """Whether a spread could be estimated."""
        return not np.isnan(self.low)

    @property
    def sides(self) -> tuple[float, float]:
        """Distances of the ends from the mean, below and above; 0 if unknown."""
        return (self.mean - self.low, self.high - self.mean) if self.known else (0.0, 0.0)


def interval(values: Sequence[float] | NDArray[np.float64]) -> Interval:
    """Mean and its 95% confidence interval, by Student's t; `MIN_SKEWED` values or more allow for skew.

    Accuracies of label draws have a long lower tail, since none exceeds what all labels give: with a skewness of -3,
    Student's interval of ten draws holds the mean 87 times in 100. Hall's cubic transformation of t removes the effect
    of the skewness, which is estimated from the values without bias (Hall 1992, J. R. Stat. Soc. B 54, 221–228); the
    interval is then longer towards the tail, but on no side longer than `session_spread`. Of symmetric values it is
    Student's.
    """
    from scipy.stats import skew, t

    values = np.asarray(values, np.float64)
    n, mean = len(values), float(values.mean())
    if n < 2 or np.ptp(values) == 0:
        return Interval.symmetric(mean, float("nan"))
    error, quantile = float(values.std(ddof=1)) / np.sqrt(n), float(t.ppf(0.975, n - 1))
    if n < MIN_SKEWED:
        return Interval.symmetric(mean, quantile * error)
    skewness = float(skew(values, bias=False))
    longest = float(t.ppf(0.95, n - 1)) * np.sqrt(n + 1)
    below, above = (min(sign * _untransformed(sign * quantile, skewness, n), longest) for sign in (1, -1))
    return Interval(mean, float(mean - below * error), float(mean + above * error))


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


def wilson(share: float, count: float) -> Interval:
    """A share of `count` independent trials, and its 95% interval (Wilson 1927, J. Am. Stat. Assoc. 22, 209-212).

    Unlike the share of bootstraps it has a width if all trials agree; `count` need not be whole.
    """
    z = 1.959964
    centre, shrink = (share + z**2 / (2 * count)), 1 + z**2 / count
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return Interval(share, max(float((centre - half) / shrink), 0.0), min(float((centre + half) / shrink), 1.0))


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
        rows.append((*key, len(values), *interval(values), *session_spread(values)))
    names = "source probe labels draws mean mean_95_low mean_95_high session_5 session_95"
    return pd.DataFrame(rows, columns=names.split())


def lead(
    one: Sequence[float] | NDArray[np.float64],
    other: Sequence[float] | NDArray[np.float64],
    seeds: tuple[Sequence[int], Sequence[int]],
) -> tuple[Interval, bool]:
    """Lead of one group of runs over another: paired by seed where both have the same seeds, each once; else Welch's.

    Args:
        one: A value per run.
        other: Of the other group.
        seeds: Of the runs of both groups.

    Returns:
        Difference of the means with its interval, which is unknown if a group has a single run; whether it is paired.
    """
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if len({*seeds[0]}) == len(one) == len(other) and {*seeds[0]} == {*seeds[1]}:
        return interval(one[np.argsort(seeds[0])] - other[np.argsort(seeds[1])]), True
    return welch(one, other), False


def welch(one: Sequence[float] | NDArray[np.float64], other: Sequence[float] | NDArray[np.float64]) -> Interval:
    """Difference of two means and its 95% interval, for unpaired values of unequal variance (Welch 1947).

    The interval is unknown if either has a single value, or if all differences within both are 0.
    """
    from scipy.stats import ttest_ind

    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    gain = float(one.mean() - other.mean())
    if min(len(one), len(other)) < 2 or np.ptp(one) == np.ptp(other) == 0:
        return Interval.symmetric(gain, float("nan"))
    ends = ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    return Interval(gain, float(ends.low), float(ends.high))


def format_interval(values: Interval, sign: str = "") -> str:
    """Such as "83.1 ± 0.9"; "83.1 [80.2, 84.0]" if the sides differ; "83.1" if the interval is unknown.

    "83.1 ± <0.1" is narrower than a decimal.
    """
    mean = f"{_rounded(values.mean):{sign}.1f}"
    if not values.known:
        return mean
    low, high = (_rounded(end) for end in values[1:])
    below, above = values.sides
    if abs(below - above) < 0.1:
        half = round((below + above) / 2, 6)
        return f"{mean} ± {half:.1f}" if half >= 0.05 else f"{mean} ± <0.1"
    return f"{mean} [{low:{sign}.1f}, {high:{sign}.1f}]"


def _rounded(value: float) -> float:
    return round(value, 1) + 0.0  # adding 0.0 turns -0.0 into 0.0


def format_session(values: Sequence[float] | NDArray[np.float64]) -> str:
    """The range of `session_spread` in %, such as "80.2–86.0"; "–" if there is none."""
    low, high = session_spread(values)
    return "–" if np.isnan(low) else f"{100 * low:.1f}–{100 * high:.1f}"
