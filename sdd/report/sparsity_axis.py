"""The axis of sparsities. The sparse end is where things happen, so sparsity is spread by the
logarithm of the weights that remain: every round of pruning is then equally wide.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import Formatter, Locator

# Sparsities in percent, the most important first: others lose their label where there is no room.
TICKS = [0, 90, 99, 99.9, 50, 95, 99.5, 80, 99.8, 20]
SHORT_TICKS = [0, 50, 20, 80, 10, 30, 40, 60, 70]  # of an axis that ends before 90 %


def spread(sparsity: Any) -> Any:
    """Where a sparsity in percent lies on the axis: 0 % at 0, 90 % at 1, 99 % at 2."""
    return -np.log10(1 - np.asarray(sparsity, float) / 100)


def spread_sparsity(axes: Axes) -> None:
    axes.xaxis.set_major_locator(_Ticks())
    axes.xaxis.set_major_formatter(_Labels())
    axes.margins(x=0.02)
    axes.set_xlabel("sparsity [%]")


class _Ticks(Locator):
    """Those of TICKS or SHORT_TICKS that an axis reaches."""

    def __call__(self) -> np.ndarray:
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> np.ndarray:
        ticks = np.sort(spread(TICKS if vmax >= spread(90) else SHORT_TICKS))
        return ticks[(vmin <= ticks) & (ticks <= vmax)]


class _Labels(Formatter):
    """Sparsities in percent, as many of them as the axis has room for."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{100 * (1 - 10**-x):g}"

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        axes = self.axis.axes
        left, right = self.axis.get_view_interval()
        points = axes.get_window_extent().width * 72 / axes.figure.dpi / (right - left)
        names = [self(value) for value in values]
        order = [f"{tick:g}" for tick in (TICKS if right >= spread(90) else SHORT_TICKS)]
        shown: list[tuple[float, float]] = []  # centers and half widths in points
        labels = dict.fromkeys(names, "")
        for value, name in sorted(zip(values, names, strict=True), key=lambda v: order.index(v[1])):
            center, half = value * points, 2 * len(name) + 1  # 7 pt digits, some space
            if all(abs(center - c) >= half + h for c, h in shown):
                shown.append((center, half))
                labels[name] = name
        return list(labels.values())
