"""How figures look: sizes, and the color, dash and marker by which lines are told apart."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any, NamedTuple

import seaborn

STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.2,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}
COLUMN, PAGE = 3.4, 7.0  # widths of a figure in inches

DASHES = ["-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (4, 1.2, 1.2, 1.2)), (0, (7, 1.5))]
MARKERS = ["o", "s", "^", "v", "X", "P", "*"]


class Look(NamedTuple):
    color: Any
    dash: Any
    marker: str


def looks(keys: Sequence[Any], palette: str | None) -> dict[Any, Look]:
    """A look for each key; `palette` is a name that seaborn knows."""
    colors = seaborn.color_palette(palette, len(keys))
    return dict(zip(keys, map(Look, colors, cycle(DASHES), cycle(MARKERS)), strict=True))
