"""Section 4's ablation: test loss above, test accuracy below, a line for every lambda."""

from matplotlib.figure import Figure

from sdd.analysis.comparisons import with_weight_decays
from sdd.report.lines import line, seeds
from sdd.report.material import Material
from sdd.report.naming import noise_name, truth_known
from sdd.report.panels import label_left, legend, stacks
from sdd.report.style import looks

QUANTITIES = {"test_loss": "test loss", "test_accuracy": "test accuracy [%]"}


def draw(material: Material) -> Figure:
    groups = list(with_weight_decays(material.rounds))
    if not groups:
        raise ValueError("figure_l2_ablation compares weight decays; no setting has more than one")
    every = sorted({w for _, group in groups for w in group.weight_decay.unique()})
    by_lambda = looks(every, material.palette)
    figure, panels = stacks(len(groups), list(QUANTITIES), material.rounds)
    for stack, ((dataset, noise, model, *_), group) in zip(panels, groups, strict=True):
        for quantity, axes in stack.items():
            for weight_decay, setting in group.groupby("weight_decay"):
                line(axes, setting, quantity, by_lambda[weight_decay], f"λ = {weight_decay:g}")
            label_left([axes], QUANTITIES[quantity])
        shown_noise = noise_name(noise, truth_known=truth_known(group))
        stack["test_loss"].set_title(f"{model}, {dataset}\n{shown_noise}")
    shown = [axes for stack in panels for axes in stack.values()]
    legend(figure, shown, seeds(*(group for _, group in groups)))
    return figure
