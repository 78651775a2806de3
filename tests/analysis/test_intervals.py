"""Confidence intervals over seeds, against a printed table, scipy.stats and how often they hold."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from sdd.analysis.collected import over_seeds
from sdd.analysis.intervals import half_width, interval

# Two-sided 95 % quantiles of Student's t, as statistical tables print them, by degrees of freedom.
PRINTED = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 29: 2.045, 120: 1.980}


@pytest.mark.parametrize(("freedom", "quantile"), PRINTED.items())
def test_the_quantile_is_the_printed_one(freedom, quantile):
    values = np.random.default_rng(freedom).normal(size=freedom + 1)
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert half_width(values) / error == pytest.approx(quantile, abs=0.0006)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 40])
def test_it_is_the_one_of_scipy(n):
    values = np.random.default_rng(n).normal(70, 3, n)
    expected = scipy.stats.t.interval(0.95, n - 1, loc=values.mean(), scale=scipy.stats.sem(values))
    assert interval(values) == pytest.approx(expected, rel=1e-12)
    paired = scipy.stats.ttest_rel(values, values[::-1] - 1).confidence_interval(0.95)
    assert interval(values - (values[::-1] - 1)) == pytest.approx(tuple(paired), rel=1e-12)


@pytest.mark.parametrize("n", [2, 3, 10])
def test_it_holds_the_truth_in_95_of_100_studies(n):
    studies = np.random.default_rng(0).normal(50, 4, (4000, n))
    held = [low <= 50 <= high for low, high in map(interval, studies)]
    # Within four standard errors of so many studies.
    assert np.mean(held) == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / len(held)))


def test_pairs_of_the_same_seeds_say_more_than_two_means():
    """Where a seed is hard for both settings, only their difference is certain."""
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 5, 10)
    a, b = 70 + hard + rng.normal(0, 0.1, 10), 68 + hard + rng.normal(0, 0.1, 10)
    low, high = interval(a - b)
    assert low < 2 < high and high - low < 0.5 < half_width(a) + half_width(b)


@pytest.mark.parametrize("values", [[], [70.0], [70.0, math.nan, 71.0]])
def test_one_seed_or_an_unknown_value_gives_none(values):
    assert math.isnan(half_width(values))


def test_seeds_that_agree_have_an_interval_without_width():
    assert half_width([62.5, 62.5, 62.5]) == 0 and interval([62.5] * 3) == (62.5, 62.5)


def test_what_is_said_over_seeds():
    said = over_seeds(pd.DataFrame({"x": [1.0, 2.0, 4.0], "y": [1.0, math.nan, 2.0]}), ["x", "y"])
    assert list(said) == [f"{c}_{s}" for c in "xy" for s in ("mean", "half_width", "deviation")]
    assert said["x_mean"] == pytest.approx(7 / 3)
    assert said["x_half_width"] == pytest.approx(
        4.3027 * said["x_deviation"] / math.sqrt(3), rel=1e-4
    )
    assert all(math.isnan(said[f"y_{s}"]) for s in ("mean", "half_width", "deviation"))
