"""Figure 3: the base lambda beside lambda_opt, for every noise."""

from matplotlib.figure import Figure

from sdd.analysis.comparisons import WeightDecays, method, weight_decays
from sdd.analysis.paper import Method
from sdd.report.lines import line, seeds
from sdd.report.material import Material
from sdd.report.naming import noise_name, titled, truth_known
from sdd.report.panels import label_left, legend, over_sparsity
from sdd.report.style import DASHES, Look, looks


def draw(material: Material) -> Figure:
    groups: dict[tuple[str, str, Method], list[WeightDecays]] = {}
    for group in weight_decays(material.rounds, material.rule):
        groups.setdefault((group.model, group.dataset, method(group)), []).append(group)
    if not groups:
        raise ValueError("figure3_l2 compares weight decays; no setting has more than one")
    by_noise = looks(sorted(material.rounds.noise.unique()), material.palette)
    figure, panels = over_sparsity(len(groups), material.rounds)
    for axes, (key, some) in zip(panels, groups.items(), strict=True):
        for group in some:
            color, _, marker = by_noise[group.noise]
            for weight_decay, dash, name in (
                (group.base, DASHES[1], "λ"),
                (group.weight_decay, DASHES[0], "λ$_{opt}$"),
            ):
                if name == "λ" and group.base == group.weight_decay:
                    continue
                setting = group.rounds[group.rounds.weight_decay == weight_decay]
                noise = noise_name(group.noise, truth_known=truth_known(setting))
                label = f"{noise}, {name} = {weight_decay:g}"
                line(axes, setting, "test_accuracy", Look(color, dash, marker), label)
        axes.set_title(titled(*key))
    label_left(panels, "test accuracy [%]")
    legend(figure, panels, seeds(*(g.rounds for some in groups.values() for g in some)))
    return figure
