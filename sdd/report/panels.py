"""Grids of panels, and the one legend below them."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdd.report.sparsity_axis import spread_sparsity
from sdd.report.style import COLUMN, PAGE


def grid(count: int, height: float = 2.1) -> tuple[Figure, list[Axes]]:
    """At most three panels in a row, as wide as a column or, from two on, a page."""
    across = 2 if count == 4 else min(count, 3)
    down = -(-count // across)
    size = (COLUMN if across == 1 else PAGE, height * down + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure, panels[:count]


def over_sparsity(
    count: int, rounds: pd.DataFrame, height: float = 2.1
) -> tuple[Figure, list[Axes]]:
    """The same, with an axis of the sparsities of `rounds` in each panel."""
    figure, panels = grid(count, height)
    for axes in panels:
        spread_sparsity(axes, rounds)
    return figure, panels


def stacks(
    count: int, quantities: Sequence[str], rounds: pd.DataFrame, height: float = 1.9
) -> tuple[Figure, list[dict[str, Axes]]]:
    """Panels of several quantities on top of each other, `count` such stacks, three in a row.

    Each is found by its quantity. Only the lowest of a stack says what its axis is.
    """
    across = min(count, 3)
    blocks = -(-count // across)
    size = (COLUMN if across == 1 else PAGE, height * len(quantities) * blocks + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(quantities) * blocks, across, squeeze=False)
    made = []
    for index in range(blocks * across):
        block, column = divmod(index, across)
        rows = grid[block * len(quantities) : (block + 1) * len(quantities), column]
        for axes in rows:
            axes.set_visible(index < count)
        if index < count:
            made.append(dict(zip(quantities, rows, strict=True)))
            for axes in rows:
                spread_sparsity(axes, rounds)
            for axes in rows[:-1]:
                axes.set_xlabel("")
                axes.tick_params(labelbottom=False)
    return figure, made


def label_left(panels: Sequence[Axes], label: str) -> None:
    for axes in panels:
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel(label)


def legend(figure: Figure, panels: Sequence[Axes], title: str) -> None:
    """One legend for all panels, below them and so never on top of the data."""
    named = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    inches = 0.6 + 0.058 * max(map(len, named))  # of the widest entry, roughly
    # Lines first, single marks behind them.
    named = dict(sorted(named.items(), key=lambda entry: entry[1].get_linestyle() == "None"))
    columns = max(1, min(len(named), int(figure.get_figwidth() / inches)))
    lines = -(-len(named) // columns)
    figure.set_figheight(figure.get_figheight() + 0.14 * max(0, lines - 3))
    figure.legend(
        named.values(),
        named.keys(),
        loc="outside lower center",
        ncols=columns,
        title=title,
        title_fontsize=7,
    )
