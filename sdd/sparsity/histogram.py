"""The weights that a round has kept, counted in bins: small enough to be looked at without them."""

import math
from collections.abc import Mapping

import numpy as np

from sdd.study.metrics import Histogram

BINS = 80
INSIDE = 0.999  # the share of the weights that the bins hold at least


def histogram(state: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray]) -> Histogram:
    """Of the entries of a model's `state` that its `masks` keep, as `write_checkpoint` takes them.

    A round may have been pruned to nothing: then all counts are 0.
    """
    kept = np.concatenate([state[name][mask] for name, mask in masks.items()])
    # An element, not something in between: a power of two must not depend on a rounding.
    size = np.quantile(np.abs(kept), INSIDE, method="higher") if kept.size else 0
    _, exponent = math.frexp(float(size))
    reach = math.ldexp(1.0, exponent)
    counts, _ = np.histogram(kept, BINS, (-reach, reach))
    return Histogram(reach, tuple(counts.tolist()), kept.size - int(counts.sum()))
