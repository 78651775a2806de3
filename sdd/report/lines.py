"""Lines are means over seeds, bands their intervals; they differ in color, dash and marker."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes

from sdd.analysis.collected import SETTING
from sdd.analysis.intervals import interval
from sdd.report.sparsity_axis import place
from sdd.report.style import Look


def line(axes: Axes, rounds: pd.DataFrame, column: str, look: Look, label: str) -> None:
    """One setting: its mean over seeds and, with more than one, its 95 % confidence interval."""
    known = rounds.dropna(subset=[column])
    most = 100 if column.endswith("accuracy") else None

    def band(values: Sequence[float]) -> tuple[float, float]:
        """Of few seeds the interval may leave what an accuracy or a loss can be."""
        return tuple(np.clip(interval(values), 0, most))

    labels = {"xlabel": axes.get_xlabel(), "ylabel": axes.get_ylabel()}
    seaborn.lineplot(
        known.assign(position=place(axes, known.sparsity)), x="position", y=column,
        errorbar=band if known.seed.nunique() > 1 else None,
        color=look.color, linestyle=look.dash, marker=look.marker, markevery=3,
        markeredgewidth=0, err_kws={"alpha": 0.2, "linewidth": 0}, label=label,
        legend=False, ax=axes,
    )  # fmt: skip
    axes.set(**labels)  # seaborn puts the columns' names there


def seeds(*parts: pd.DataFrame) -> str:
    """What lines and bands are, with the number of seeds behind each of their points."""
    trained = pd.concat(parts).dropna(subset="test_accuracy")
    counts = trained.groupby([*SETTING, "round"], dropna=False).seed.nunique()
    few, many = counts.min(), counts.max()
    if many == 1:
        return "one seed"
    count = many if few == many else f"{few} to {many}"
    return f"mean and 95 % confidence interval of {count} seeds"
