"""Figure 2: every noise of every model and data set, without a teacher, at the base lambda."""

import numpy as np
from matplotlib.figure import Figure

from sdd.analysis.collected import METHOD, at_smallest_weight_decay
from sdd.analysis.paper import HE, PAPER, Method, read_off
from sdd.report.lines import line, seeds
from sdd.report.material import Material
from sdd.report.naming import noise_name, titled, truth_known
from sdd.report.panels import label_left, legend, over_sparsity
from sdd.report.sparsity_axis import place
from sdd.report.style import looks

MARKERS = {PAPER: "D", HE: "h"}  # of what others have measured


def draw(material: Material) -> Figure:
    rounds = material.rounds
    vanilla = at_smallest_weight_decay(rounds)
    if vanilla.empty:
        raise ValueError("figure2_occurrence shows chains without a teacher; there are none")
    by_noise = looks(sorted(rounds.noise.unique()), material.palette)
    groups = list(vanilla.groupby(["model", "dataset", *METHOD]))
    figure, panels = over_sparsity(len(groups), rounds)
    for axes, ((model, dataset, *method), group) in zip(panels, groups, strict=True):
        for noise, setting in group.groupby("noise"):
            label = noise_name(noise, truth_known=truth_known(setting))
            line(axes, setting, "test_accuracy", by_noise[noise], label)
            for source, points in read_off(dataset, noise, model, Method(*method)):
                x, y = np.transpose(points)
                axes.plot(
                    place(axes, x), y, linestyle="none", marker=MARKERS[source], markersize=5,
                    markerfacecolor="none", markeredgecolor=by_noise[noise].color, alpha=0.6,
                    zorder=4, clip_on=False, label=source,
                )  # fmt: skip
        axes.set_title(titled(model, dataset, Method(*method)))
    label_left(panels, "test accuracy [%]")
    legend(figure, panels, seeds(vanilla))
    return figure
