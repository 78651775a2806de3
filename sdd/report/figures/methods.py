"""How chains are pruned and retrained: a line for every method, all else equal."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sdd.analysis.collected import METHOD
from sdd.analysis.paper import Method, read_off
from sdd.report.lines import line, seeds
from sdd.report.material import Material
from sdd.report.naming import method_name, noise_name, truth_known
from sdd.report.panels import label_left, legend, over_sparsity
from sdd.report.sparsity_axis import place
from sdd.report.style import looks


def draw(material: Material) -> Figure:
    groups = list(_with_methods(material.rounds))
    if not groups:
        raise ValueError("figure_methods compares methods; no setting has more than one")
    shown = pd.concat([group for _, group in groups])
    every = list(dict.fromkeys(_methods(shown)))
    by_method = looks(every, material.palette)
    figure, panels = over_sparsity(len(groups), shown)
    for axes, ((model, dataset, noise), group) in zip(panels, groups, strict=True):
        for method, setting in group.groupby(METHOD):
            look = by_method[Method(*method)]
            line(axes, setting, "test_accuracy", look, method_name(Method(*method), every))
            for source, points in read_off(dataset, noise, model, Method(*method)):
                x, y = np.transpose(points)
                axes.plot(
                    place(axes, x), y, linestyle="none", marker="D", markersize=5, zorder=4,
                    markerfacecolor="none", markeredgecolor=look.color, clip_on=False,
                    label=source,
                )  # fmt: skip
        shown_noise = noise_name(noise, truth_known=truth_known(group))
        axes.set_title(f"{model}, {dataset}\n{shown_noise}")
    label_left(panels, "test accuracy [%]")
    legend(figure, panels, seeds(shown))
    return figure


def _with_methods(rounds: pd.DataFrame):
    """Of every model, data set and noise with several methods the chains without a teacher, at
    the smallest weight decay of each method."""
    vanilla = rounds[rounds.teacher == "none"]
    for key, group in vanilla.groupby(["model", "dataset", "noise"]):
        if len(set(_methods(group))) > 1:
            smallest = group.groupby(METHOD).weight_decay.transform("min")
            yield key, group[group.weight_decay == smallest]


def _methods(rounds: pd.DataFrame) -> list[Method]:
    return [Method(*row) for row in rounds[METHOD].drop_duplicates().itertuples(index=False)]
