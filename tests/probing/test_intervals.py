"""Confidence intervals, compared with tabulated values and by simulation."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_ind

from fewlabels.probing.intervals import (
    Interval,
    format_interval,
    format_session,
    interval,
    session_spread,
    welch,
    wilson,
)


def test_the_interval_is_students():
    mean, low, high = interval([1.0, 2.0, 3.0, 4.0])
    assert mean == 2.5
    assert (
        mean - low == high - mean == pytest.approx(3.182446 * np.std([1, 2, 3, 4], ddof=1) / 2, rel=1e-6)
    )  # tabulated t, 3 dof, 97.5%


def test_a_single_value_has_no_interval():
    found = interval([1.0])
    assert found.mean == 1
    assert not found.known
    assert found.sides == (0, 0)


def test_equal_values_have_no_interval_either():
    found = interval([0.1 + 0.2] * 3)
    assert found.mean == pytest.approx(0.3)
    assert not found.known


def test_95_percent_of_intervals_contain_the_true_mean():
    samples = np.random.default_rng(0).normal(3, 2, size=(1000, 5))
    covered = [low <= 3 <= high for _, low, high in map(interval, samples)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_one_session_has_a_prediction_interval():
    low, high = session_spread([0.50, 0.54, 0.52, 0.56])
    half = 2.353363 * np.std([0.50, 0.54, 0.52, 0.56], ddof=1) * math.sqrt(1.25)  # tabulated t, 3 dof, 95%
    assert (low, high) == pytest.approx((0.53 - half, 0.53 + half), rel=1e-6)
    assert session_spread([0.99, 0.90, 1.0])[1] == 1
    assert session_spread([0.01, 0.10, 0.0])[0] == 0


@pytest.mark.parametrize("values", [[0.5], [0.5] * 4], ids=["single", "equal"])
def test_single_or_equal_draws_have_no_session_spread(values):
    assert all(math.isnan(end) for end in session_spread(values))
    assert format_session(values) == "–"


def test_the_session_spread_holds_90_percent_of_fresh_draws_and_empirical_quantiles_do_not():
    draws = np.random.default_rng(0).normal(0.6, 0.05, size=(2000, 11))
    ends = np.array([session_spread(row[:10]) for row in draws])
    assert np.mean((ends[:, 0] <= draws[:, 10]) & (draws[:, 10] <= ends[:, 1])) == pytest.approx(0.90, abs=0.02)
    low, high = np.quantile(draws[:, :10], [0.05, 0.95], axis=1)
    assert np.mean((low <= draws[:, 10]) & (draws[:, 10] <= high)) < 0.8


def test_the_difference_of_unpaired_means_is_welchs():
    one, other = [0.1, 0.4, 0.3, 0.6], [0.8, 0.9, 0.85]
    _, low, high = welch(one, other)
    expected = ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert not welch([0.1], [0.2, 0.3]).known
    assert not welch([0.1, 0.1], [0.2, 0.2]).known


def transformed(t, skewness, n):
    """Hall's transform (1992)."""
    a = skewness / math.sqrt(n)
    return t + a / 3 * t**2 + a**2 / 27 * t**3 + a / 6


def test_from_ten_values_on_the_interval_allows_for_skew():
    values = np.array([0.84, 0.83, 0.84, 0.85, 0.82, 0.84, 0.83, 0.85, 0.84, 0.80])
    skewness = ((values - values.mean()) ** 3).mean() / values.std() ** 3 * math.sqrt(10 * 9) / 8  # unbiased
    found, error = interval(values), values.std(ddof=1) / math.sqrt(10)
    assert skewness < 0  # a long lower tail, so the lower side is longer
    assert found.sides[0] > 2.5 * error > 2.0 * error > found.sides[1]
    ends = [transformed((values.mean() - end) / error, skewness, 10) for end in found[1:]]
    assert ends == pytest.approx([2.262157, -2.262157], rel=1e-6)  # tabulated t, 9 dof, 97.5%
    assert interval(1 - values).sides == pytest.approx(found.sides[::-1])
    outlier = np.r_[values[:9], 0.3]  # on no side longer than the spread of one session
    assert interval(outlier).low == pytest.approx(session_spread(outlier)[0])
    symmetric = np.r_[values[:5], 2 * values[:5].mean() - values[:5]]
    assert interval(symmetric).sides == pytest.approx([2.262157 * symmetric.std(ddof=1) / math.sqrt(10)] * 2, rel=1e-5)


def test_the_interval_covers_the_mean_of_skewed_values_where_students_does_not():
    samples = 0.85 - np.random.default_rng(0).exponential(0.05, size=(3000, 10))  # skewness -2
    covered = [low <= 0.80 <= high for _, low, high in map(interval, samples)]
    plain = 2.262157 * samples.std(1, ddof=1) / math.sqrt(10)
    assert np.mean(abs(samples.mean(1) - 0.80) <= plain) < 0.91
    assert 0.93 <= np.mean(covered) <= 0.97  # Student's: 0.90


def test_intervals_are_formatted_with_one_decimal():
    assert format_interval(Interval.symmetric(83.12, 0.94)) == "83.1 ± 0.9"
    assert format_interval(Interval.symmetric(83.12, math.nan)) == "83.1"
    assert format_interval(Interval.symmetric(1.25, 0.5), sign="+") == "+1.2 ± 0.5"
    assert format_interval(Interval(83.12, 80.01, 84.0)) == "83.1 [80.0, 84.0]"
    assert format_interval(Interval(1.25, -0.5, 2.0), sign="+") == "+1.2 [-0.5, +2.0]"
    assert format_interval(Interval(83.12, 82.2, 84.0)) == "83.1 ± 0.9"  # the sides are equal to a decimal


def test_no_interval_is_formatted_as_zero_and_no_mean_as_minus_zero():
    assert format_interval(Interval.symmetric(83.12, 0.04)) == "83.1 ± <0.1"
    assert format_interval(Interval.symmetric(83.12, 0.05)) == "83.1 ± 0.1"
    assert format_interval(Interval.symmetric(-0.01, 0.5), sign="+") == "+0.0 ± 0.5"
    assert format_session([0.50, 0.54, 0.52, 0.56]) == "46.2–59.8"


@pytest.mark.parametrize(("right", "count"), [(0, 5), (12, 12), (7, 10), (950, 1000)])
def test_the_interval_of_a_share_is_that_of_scipy(right, count):
    expected = binomtest(right, count).proportion_ci(0.95, method="wilson")
    assert wilson(right / count, count) == pytest.approx((right / count, expected.low, expected.high), abs=1e-7)
