"""What sparsity buys where models run, against the dense network in torch."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from sdd.report.deployed import of_settings
from sdd.report.material import Material
from sdd.report.panels import legend, stacks
from sdd.report.sparsity_axis import place
from sdd.report.style import Look, looks

QUANTITIES = {
    "batch1_speedup": "times as fast,\none image",
    "batch64_speedup": "times as fast,\n64 images",
    "smaller": "times smaller\non disk",
    "frugality": "times less\nenergy",
}


def draw(material: Material) -> Figure:
    deployed = of_settings(material)
    deployed = deployed[(deployed.network != "dense") | (deployed.runtime != "torch")]
    groups = list(deployed.groupby(["model", "dataset"]))
    names = list(dict.fromkeys(zip(deployed.network, deployed.runtime, strict=True)))
    by_name = looks(names, material.palette)
    figure, panels = stacks(len(groups), list(QUANTITIES), deployed)
    for number, (of_group, ((model, dataset), group)) in enumerate(
        zip(panels, groups, strict=True)
    ):
        for quantity, axes in of_group.items():
            for (network, runtime), points in group.groupby(["network", "runtime"], sort=False):
                look = by_name[network, runtime]
                _points(axes, points, quantity, look, f"{network}, {runtime}")
            axes.axhline(1, color="0.4", linewidth=0.8, zorder=1)
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
            if number % 3 == 0:
                axes.set_ylabel(QUANTITIES[quantity])
        of_group[next(iter(QUANTITIES))].set_title(f"{model}, {dataset}")
    every = [axes for of_group in panels for axes in of_group.values()]
    shown = material.rounds[material.rounds.chain.isin(deployed.chain)]
    legend(figure, every, f"a mark for each deployed round, of {shown.seed.nunique()} seeds")
    return figure


def _points(axes: Axes, points: pd.DataFrame, quantity: str, look: Look, label: str) -> None:
    """A mark for each deployed round of each chain."""
    known = points.dropna(subset=[quantity])
    axes.plot(
        place(axes, known.sparsity), known[quantity], linestyle="none", color=look.color,
        marker=look.marker, markersize=3.5, markeredgewidth=0, alpha=0.8, label=label,
    )  # fmt: skip
