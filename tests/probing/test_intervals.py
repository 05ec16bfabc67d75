"""Confidence intervals, compared with tabulated values and by simulation."""

import math

import numpy as np
import pytest

from fewlabels.probing.intervals import format_interval, interval


def test_the_interval_is_students():
    mean, half = interval([1.0, 2.0, 3.0, 4.0])
    assert mean == 2.5
    assert half == pytest.approx(3.182446 * np.std([1, 2, 3, 4], ddof=1) / 2, rel=1e-6)  # tabulated t, 3 dof, 97.5%


def test_a_single_value_has_no_interval():
    mean, half = interval([1.0])
    assert mean == 1
    assert math.isnan(half)


def test_equal_values_have_no_interval_either():
    mean, half = interval([0.1 + 0.2] * 3)
    assert mean == pytest.approx(0.3)
    assert math.isnan(half)


def test_95_percent_of_intervals_contain_the_true_mean():
    samples = np.random.default_rng(0).normal(3, 2, size=(1000, 5))
    covered = [abs(mean - 3) <= half for mean, half in map(interval, samples)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_intervals_are_formatted_with_one_decimal():
    assert format_interval(83.12, 0.94) == "83.1 ± 0.9"
    assert format_interval(83.12, math.nan) == "83.1"
    assert format_interval(1.25, 0.5, sign="+") == "+1.2 ± 0.5"


def test_no_interval_is_formatted_as_zero_and_no_mean_as_minus_zero():
    assert format_interval(83.12, 0.04) == "83.1 ± <0.1"
    assert format_interval(83.12, 0.05) == "83.1 ± 0.1"
    assert format_interval(-0.01, 0.5, sign="+") == "+0.0 ± 0.5"
