"""What goes with the descent: learning distance and entropy over sparsity, below test accuracy."""

import pandas as pd
from matplotlib.figure import Figure

from sdd.analysis.collected import METHOD
from sdd.analysis.paper import Method
from sdd.report.lines import line, seeds
from sdd.report.material import Material
from sdd.report.naming import noise_name, titled, truth_known
from sdd.report.panels import label_left, legend, stacks
from sdd.report.style import looks

QUANTITIES = {
    "test_accuracy": "test accuracy [%]",
    "learning_distance": "learning distance",
    "entropy": "entropy [bit]",
}


def draw(material: Material) -> Figure:
    rounds = material.rounds
    vanilla = rounds[rounds.teacher == "none"]
    measured = {name: text for name, text in QUANTITIES.items() if _known(vanilla, name)}
    if vanilla.empty or len(measured) == 1:
        raise ValueError("figure_diagnostics shows chains whose diagnostics were taken; none was")
    key = ["model", "dataset", *METHOD]
    smallest = vanilla.groupby([*key, "noise"]).weight_decay.transform("min")
    vanilla = vanilla[vanilla.weight_decay == smallest]
    by_noise = looks(sorted(vanilla.noise.unique()), material.palette)
    groups = list(vanilla.groupby(key))
    figure, panels = stacks(len(groups), list(measured), vanilla, height=1.6)
    for stack, ((model, dataset, *method), group) in zip(panels, groups, strict=True):
        for quantity, axes in stack.items():
            for noise, setting in group.groupby("noise"):
                label = noise_name(noise, truth_known=truth_known(setting))
                line(axes, setting, quantity, by_noise[noise], label)
            label_left([axes], measured[quantity])
        stack["test_accuracy"].set_title(titled(model, dataset, Method(*method)))
    legend(figure, [axes for stack in panels for axes in stack.values()], seeds(vanilla))
    return figure


def _known(rounds: pd.DataFrame, name: str) -> bool:
    return name in rounds and bool(rounds[name].notna().any())
