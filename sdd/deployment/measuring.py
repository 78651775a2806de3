"""Times and energy of networks side by side, as whoever runs them feels it.

In every turn each network has its go, in an order drawn anew: what else the machine does meets all
of them alike, and none always follows the same other one. Before the go that is timed stands one
that is not, since a network finds the caches as the one before it has left them, and whoever runs
only one finds them warm. What is stated are ratios of goes in the same turn.
"""

import itertools
import random
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sdd.deployment.facts import BATCHES, Latency, Ratio
from sdd.deployment.runtimes import Run
from sdd.machine.energy import FIRST_SAMPLE_S, EnergyMeter
from sdd.machine.reading import EnergyReading

FEWEST = 5  # turns, however long they take
ENERGY_TURNS = 3
# Turns from which a percentile says something: below, it would be the slowest go, or next to it.
ENOUGH = {95: 20, 99: 100}

Key = TypeVar("Key", bound=Hashable)


def timed(goes: Mapping[Key, Callable[[], object]], seconds: float) -> dict[Key, list[float]]:
    """Seconds of every go of each, over as many turns as `seconds` allow."""
    took: dict[Key, list[float]] = {name: [] for name in goes}
    end = time.perf_counter() + seconds
    for turn in itertools.count():
        if turn >= FEWEST and time.perf_counter() >= end:
            return took
        for name in _order(list(goes), turn):
            goes[name]()
            start = time.perf_counter()
            goes[name]()
            took[name].append(time.perf_counter() - start)
    raise AssertionError  # turns never end


def _order(names: list[Key], turn: int) -> list[Key]:
    return random.Random(turn).sample(names, len(names))


def batch_of(images: NDArray, size: int) -> NDArray:
    """So many of the images, again from the first where there are fewer."""
    return np.ascontiguousarray(images[np.arange(size) % len(images)])


def latencies(
    runs: Mapping[Key, Run], images: NDArray, seconds: float, reference: Key
) -> dict[Key, tuple[Latency, ...]]:
    """Of each network at every size of a batch; `seconds` in all."""
    found: dict[Key, list[Latency]] = {name: [] for name in runs}
    for batch in BATCHES:
        given = batch_of(images, batch)
        goes = {name: lambda run=run, given=given: run(given) for name, run in runs.items()}
        took = timed(goes, seconds / len(BATCHES))
        for name, own in took.items():
            p50 = median(own)
            found[name].append(
                Latency(
                    batch=batch,
                    p50=p50,
                    p95=percentile(own, 95),
                    p99=percentile(own, 99),
                    images_a_second=batch / p50,
                    speedup=ratio(took[reference], own),
                )
            )
    return {name: tuple(some) for name, some in found.items()}


def median(took: Sequence[float]) -> float:
    return float(np.median(took))


def percentile(took: Sequence[float], percent: int) -> float | None:
    return float(np.percentile(took, percent)) if len(took) >= ENOUGH[percent] else None


def ratio(reference: Sequence[float], own: Sequence[float]) -> Ratio:
    """Of goes in the same turn."""
    low, median, high = np.percentile(np.divide(reference, own), [10, 50, 90])
    return Ratio(float(median), float(low), float(high), len(own))


def metered(
    runs: Mapping[Key, Run], batch: NDArray, seconds: float
) -> dict[Key, tuple[list[int], list[EnergyReading]]]:
    """How many images each network has answered in every turn, and the energy that took.

    `seconds` in all, or as long as the meter takes to be read while each network is at work.
    """
    found: dict[Key, tuple[list[int], list[EnergyReading]]] = {name: ([], []) for name in runs}
    each_s = seconds / ENERGY_TURNS / len(runs)
    for turn in range(ENERGY_TURNS):
        for name in _order(list(runs), turn):
            answered, run = 0, runs[name]
            run(batch)
            with EnergyMeter() as meter:
                start, took = time.perf_counter(), 0.0
                while took < each_s or not (meter.has_read or took > FIRST_SAMPLE_S):
                    run(batch)
                    answered += len(batch)
                    took = time.perf_counter() - start
            found[name][0].append(answered)
            found[name][1].append(meter.reading)
    return found
