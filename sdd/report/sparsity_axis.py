"""The axis of sparsities. The sparse end is where things happen, so sparsity is spread by the
logarithm of the weights that remain: every round of pruning is then equally wide.

A network without a single weight has no place there: it stands at the end, behind the others, and
the axis says so.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import Formatter, Locator

# Sparsities in percent, the most important first: others lose their label where there is no room.
TICKS = [0, 90, 99, 99.9, 50, 95, 99.5, 80, 99.8, 20]
SHORT_TICKS = [0, 50, 20, 80, 10, 30, 40, 60, 70]  # of an axis that ends before 90 %


NOTHING_LEFT = 100.0
GAP = 0.3  # at least, between the end and the sparsest network with a weight


def spread(sparsity: Any) -> Any:
    """Where a sparsity in percent below 100 lies on any axis: 0 % at 0, 90 % at 1, 99 % at 2."""
    return -np.log10(1 - np.asarray(sparsity, float) / 100)


def place(axes: Axes, sparsity: Any) -> Any:
    """Where sparsities lie on an axis that `spread_sparsity` has made, 100 % at its end."""
    some = np.asarray(sparsity, float)
    nothing, end = some >= NOTHING_LEFT, axes.xaxis.get_major_formatter().end
    return np.where(nothing, np.nan if end is None else end, spread(np.where(nothing, 0, some)))


def spread_sparsity(axes: Axes, rounds: pd.DataFrame) -> None:
    """An axis for what is known of these rounds."""
    end = _end(rounds.sparsity)
    axes.xaxis.set_major_locator(_Ticks(end))
    axes.xaxis.set_major_formatter(_Labels(end))
    axes.margins(x=0.02)
    axes.set_xlabel("sparsity [%]" + ("" if end is None else " (100: no weight is left)"))


def _end(sparsity: pd.Series) -> float | None:
    """Where 100 % lies, if some network has come there."""
    if not (sparsity >= NOTHING_LEFT).any():
        return None
    sparsest = float(spread(sparsity[sparsity < NOTHING_LEFT].max()))
    return 0.0 if np.isnan(sparsest) else sparsest + max(GAP, 0.15 * sparsest)


class _Ticks(Locator):
    """Those of TICKS or SHORT_TICKS that an axis reaches, and its end."""

    def __init__(self, end: float | None) -> None:
        self.end = end

    def __call__(self) -> np.ndarray:
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> np.ndarray:
        ticks = np.sort(spread(TICKS if vmax >= spread(90) else SHORT_TICKS))
        if self.end is not None:
            ticks = np.append(ticks[ticks < self.end], self.end)
        return ticks[(vmin <= ticks) & (ticks <= vmax)]


class _Labels(Formatter):
    """Sparsities in percent, as many of them as the axis has room for."""

    def __init__(self, end: float | None) -> None:
        self.end = end

    def __call__(self, x: float, pos: int | None = None) -> str:
        if x == self.end:
            return f"{NOTHING_LEFT:g}"
        return f"{100 * (1 - 10**-x):g}"

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        axes = self.axis.axes
        left, right = self.axis.get_view_interval()
        points = axes.get_window_extent().width * 72 / axes.figure.dpi / (right - left)
        names = [self(value) for value in values]
        usual = TICKS if right >= spread(90) else SHORT_TICKS
        order = [f"{tick:g}" for tick in (NOTHING_LEFT, *usual)]
        shown: list[tuple[float, float]] = []  # centers and half widths in points
        labels = dict.fromkeys(names, "")
        for value, name in sorted(zip(values, names, strict=True), key=lambda v: order.index(v[1])):
            center, half = value * points, 2 * len(name) + 1  # 7 pt digits, some space
            if all(abs(center - c) >= half + h for c, h in shown):
                shown.append((center, half))
                labels[name] = name
        return list(labels.values())
