"""Confidence intervals of repeated measurements."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def interval(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """Mean and half-width of its 95% confidence interval by Student's t; the half-width is NaN for one value."""
    from scipy.stats import t

    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    return float(values.mean()), float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def format_interval(mean: float, half: float, sign: str = "") -> str:
    """Such as "83.1 ± 0.9", or "83.1" where there is a single value and so no interval."""
    return f"{mean:{sign}.1f}" + ("" if np.isnan(half) else f" ± {half:.1f}")
