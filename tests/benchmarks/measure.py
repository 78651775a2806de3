"""Timing of sides that take turns, so that whatever else runs on the machine slows all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Timing:
    """Seconds of each side, a value a turn."""

    seconds: Mapping[str, list[float]]

    def median(self, side: str) -> float:
        return statistics.median(self.seconds[side])

    def ratio(self, side: str, other: str) -> float:
        """How many times as long `side` took as `other`: the median over the turns."""
        return statistics.median(self.ratios(side, other))

    def spread(self, side: str, other: str) -> str:
        """That ratio with its lowest and highest value."""
        ratios = self.ratios(side, other)
        return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"

    def ratios(self, side: str, other: str) -> list[float]:
        """A value a turn."""
        pairs = zip(self.seconds[side], self.seconds[other], strict=True)
        return [mine / theirs for mine, theirs in pairs]


def take_turns(
    sides: Mapping[str, Callable[[], object]],
    turns: int,
    clock: Callable[[], float] = time.process_time,
) -> Timing:
    """Calls each side once to warm up, then `turns` times, A B C A B C.

    The default clock is the processor time of this process, which other jobs disturb least. Sides
    that wait for worker processes or for a GPU need `time.perf_counter`.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for run in sides.values():
        run()
    for _ in range(turns):
        for name, run in sides.items():
            started = clock()
            run()
            seconds[name].append(clock() - started)
    return Timing(seconds)


def rows(timing: Timing, images: int, targets: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row a side, against the first, for `images` images a call."""
    first = next(iter(timing.seconds))
    return [
        {
            "loop": name,
            "ms": f"{1e3 * timing.median(name):.1f}",
            "images/s": f"{images / timing.median(name):,.0f}",
            f"times {first}": timing.spread(name, first),
            "target": targets.get(name, ""),
        }
        for name in timing.seconds
    ]
