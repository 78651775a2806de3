"""Lines are means over seeds, bands one deviation; they differ in color, dash and marker."""

import pandas as pd
import seaborn
from matplotlib.axes import Axes

from sdd.analysis.collected import SETTING
from sdd.report.sparsity_axis import place
from sdd.report.style import Look


def line(axes: Axes, rounds: pd.DataFrame, column: str, look: Look, label: str) -> None:
    """One setting: its mean over seeds and, with more than one, a band of one deviation."""
    known = rounds.dropna(subset=[column])
    ylabel = axes.get_ylabel()
    seaborn.lineplot(
        known.assign(position=place(axes, known.sparsity)), x="position", y=column,
        errorbar="sd" if known.seed.nunique() > 1 else None,
        color=look.color, linestyle=look.dash, marker=look.marker, markevery=3,
        markeredgewidth=0, err_kws={"alpha": 0.2, "linewidth": 0}, label=label,
        legend=False, ax=axes,
    )  # fmt: skip
    axes.set_ylabel(ylabel)  # seaborn puts the column's name there


def seeds(*parts: pd.DataFrame) -> str:
    """What lines and bands are, with the number of seeds behind each of their points."""
    trained = pd.concat(parts).dropna(subset="test_accuracy")
    counts = trained.groupby([*SETTING, "round"], dropna=False).seed.nunique()
    few, many = counts.min(), counts.max()
    if many == 1:
        return "one seed"
    return f"mean ± standard deviation of {many if few == many else f'{few} to {many}'} seeds"
