"""Confidence intervals of repeated measurements."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def interval(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """Mean and half-width of its 95% confidence interval by Student's t.

    The half-width is NaN where no spread can be estimated: of one value, or of equal ones.
    """
    from scipy.stats import t

    values = np.asarray(values, np.float64)
    if len(values) < 2 or np.ptp(values) == 0:
        return float(values.mean()), float("nan")
    return float(values.mean()), float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def format_interval(mean: float, half: float, sign: str = "") -> str:
    """Such as "83.1 ± 0.9"; "83.1 ± <0.1" if the interval is narrower than a decimal, "83.1" if there is none."""
    width = "" if np.isnan(half) else f" ± {half:.1f}" if half >= 0.05 else " ± <0.1"
    return f"{round(mean, 1) + 0.0:{sign}.1f}{width}"  # adding 0.0 turns -0.0 into 0.0
