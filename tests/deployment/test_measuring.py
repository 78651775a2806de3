"""Measuring side by side, with clocks of our own where a number is expected."""

import itertools
import time
from collections import Counter
from functools import partial

import numpy as np
import pytest

from sdd.deployment import measuring
from sdd.machine.energy import EnergyMeter
from sdd.machine.power import Part, Probe


@pytest.fixture
def clock(monkeypatch):
    """Time goes by only as somebody says."""

    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

        def goes_on(self, seconds):
            def go(*_):
                self.now += next(seconds)

            return go

    made = Clock()
    monkeypatch.setattr(measuring, "time", made)
    return made


def test_every_network_has_one_go_a_turn_and_another_that_is_not_timed(clock):
    went = []

    def go(name, seconds):
        def gone():
            went.append(name)
            clock.now += seconds

        return gone

    took = measuring.timed({"a": go("a", 1.0), "b": go("b", 2.0)}, seconds=59.0)
    # A turn takes (1 + 2) * 2 seconds.
    assert took == {"a": [1.0] * 10, "b": [2.0] * 10}
    assert Counter(went) == {"a": 20, "b": 20}
    assert all(first == second for first, second in zip(went[::2], went[1::2], strict=True))


def test_each_follows_each():
    names = list("abcde")
    before = Counter(
        pair for turn in range(400) for pair in itertools.pairwise(measuring._order(names, turn))
    )
    assert len(before) == 20
    assert min(before.values()) > 0.6 * max(before.values())


def test_few_turns_are_made_however_long_they_take(clock):
    took = measuring.timed({"a": clock.goes_on(itertools.repeat(100.0))}, seconds=1.0)
    assert took == {"a": [100.0] * measuring.FEWEST}


def test_ratios_are_of_the_same_turn():
    """While the machine is busy everything takes ten times as long: no ratio notices."""
    busy = np.array([1, 10, 1, 10, 10, 1, 1, 10, 1, 10, 1.0])
    ratio = measuring.ratio(3e-3 * busy, 1e-3 * busy)
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((3, 3, 3)) and ratio.turns == 11
    spread = measuring.ratio(np.arange(1.0, 12), np.ones(11))
    assert (spread.low, spread.median, spread.high) == pytest.approx((2, 6, 10))


@pytest.mark.parametrize(
    ("turns", "p95", "p99"),
    [(19, False, False), (20, True, False), (99, True, False), (100, True, True)],
)
def test_a_percentile_is_stated_once_there_are_turns_enough(turns, p95, p99):
    took = list(range(turns))
    assert (measuring.percentile(took, 95) is not None) == p95
    assert (measuring.percentile(took, 99) is not None) == p99


def test_latency_by_hand(clock):
    def run(a_image_s):
        def answered(images):
            clock.now += a_image_s * len(images)

        return answered

    runs = {"slow": run(4e-3), "fast": run(1e-3)}
    images = np.zeros((10, 1, 2, 2), np.float32)  # fewer than the largest batch
    found = measuring.latencies(runs, images, 40.0, "slow")
    for latency in found["fast"]:
        assert latency.p50 == pytest.approx(1e-3 * latency.batch)
        assert latency.images_a_second == pytest.approx(1000)
        assert latency.speedup.median == pytest.approx(4)
    assert [latency.batch for latency in found["slow"]] == [1, 8, 64, 256]
    assert all(latency.speedup.median == 1 for latency in found["slow"])
    # Ten seconds for each size of a batch; a turn takes 2 * 5 ms an image.
    assert [latency.speedup.turns for latency in found["fast"]] == pytest.approx(
        [1000, 125, 16, 5], abs=1
    )


def test_energy_is_metered_in_turns():
    runs = {name: lambda images: None for name in ("a", "b")}
    images = np.zeros((64, 1, 2, 2), np.float32)
    found = measuring.metered(runs, images, 0.5)
    for answered, readings in found.values():
        assert len(answered) == len(readings) == measuring.ENERGY_TURNS
        assert all(count and count % 64 == 0 for count in answered)
        # Whether a meter is there or not, nothing is made up.
        assert all((r.energy_kwh is None) == (r.reason is not None) for r in readings)
        assert all(r.seconds < 1 for r in readings)


def test_a_network_is_at_work_as_long_as_a_reading_takes(monkeypatch, tmp_path):
    """RAPL's takes a second: one that is over after the work would be that of a device at rest."""

    class Slow:
        def power_usage(self):
            time.sleep(0.2)
            return [60.0 if time.monotonic() - worked[-1] < 0.1 else 1.0]

        def shutdown(self):
            pass

    worked = []

    def run(images):
        time.sleep(0.001)
        worked.append(time.monotonic())

    part = Part("cpu", lambda: Probe(Slow(), "told", every_s=0.0))
    meter = partial(EnergyMeter, parts=[part], ledger=tmp_path)
    monkeypatch.setattr(measuring, "EnergyMeter", meter)
    found = measuring.metered({"a": run}, np.zeros((64, 1, 2, 2), np.float32), 0.003)
    _, readings = found["a"]
    assert [r.power_w for r in readings] == [60.0] * measuring.ENERGY_TURNS
    assert all(r.seconds >= 0.2 for r in readings)
