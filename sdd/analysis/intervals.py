"""Confidence intervals over seeds: how far a mean may be from that of all possible seeds."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95


def quantile(n: int) -> float:
    """Of Student's t for n values: how many standard errors the interval reaches to either side."""
    return float(stdtrit(n - 1, (1 + CONFIDENCE) / 2))


def half_width(values: Sequence[float]) -> float:
    """Half the width of the 95 % confidence interval around the mean of `values`, one a seed.

    Student's t: t(n - 1) s / sqrt(n), s the sample standard deviation; exact for any n where seeds
    scatter normally. Where two settings share their seeds, give their differences, seed by seed.
    NaN where a value is unknown, and of one seed, which does not say how seeds differ.
    """
    n = len(values)
    if n < 2:
        return math.nan
    return quantile(n) * float(np.std(np.asarray(values, float), ddof=1)) / math.sqrt(n)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The ends of that interval."""
    mean, half = float(np.mean(np.asarray(values, float))), half_width(values)
    return mean - half, mean + half
