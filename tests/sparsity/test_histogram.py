"""Histograms of kept weights: every weight is counted once, in a bin that it lies in."""

import math
from itertools import pairwise

import numpy as np
import pytest

from sdd.sparsity.histogram import BINS, histogram


def layers(*sizes: int, scale: float = 0.1):
    rng = np.random.default_rng(0)
    state = {
        f"{n}.weight": rng.normal(0, scale, size).astype(np.float32) for n, size in enumerate(sizes)
    }
    return state, {name: rng.random(value.shape) < 0.7 for name, value in state.items()}


@pytest.mark.parametrize("scale", [1e-6, 0.1, 0.25, 30.0])
def test_it_counts_what_is_kept_and_nothing_else(scale):
    state, masks = layers(3000, 500, scale=scale)
    found = histogram(state, masks)
    kept = np.concatenate([state[name][masks[name]] for name in state])
    edges = np.linspace(-found.reach, found.reach, BINS + 1)
    counts = [((kept >= low) & (kept < high)).sum() for low, high in pairwise(edges)]
    assert list(found.counts) == counts
    assert sum(found.counts) + found.beyond == len(kept)
    assert found.beyond == (np.abs(kept) > found.reach).sum() <= len(kept) / 1000


def test_it_reaches_no_further_than_the_next_power_of_two():
    for scale in (1e-4, 0.3, 7.0):
        state, masks = layers(5000, scale=scale)
        reach = histogram(state, masks).reach
        assert math.log2(reach).is_integer()
        sizes = np.abs(state["0.weight"][masks["0.weight"]])
        assert (sizes < reach).mean() >= 0.999 > (sizes < reach / 2).mean()


def test_of_nothing_it_counts_nothing():
    state, masks = layers(10)
    assert sum(histogram(state, {"0.weight": masks["0.weight"] & False}).counts) == 0
    zero = histogram({"0.weight": np.zeros(10, np.float32)}, {"0.weight": np.ones(10, bool)})
    assert sum(zero.counts) == 10
