"""Section 4's ablation: test loss above, test accuracy below, a line for every lambda."""

from matplotlib.figure import Figure

from sdd.analysis.comparisons import with_weight_decays
from sdd.report.lines import line, seeds
from sdd.report.material import Material
from sdd.report.naming import noise_name
from sdd.report.panels import legend
from sdd.report.sparsity_axis import spread_sparsity
from sdd.report.style import COLUMN, PAGE, looks


def draw(material: Material) -> Figure:
    groups = list(with_weight_decays(material.rounds))
    if not groups:
        raise ValueError("figure_l2_ablation compares weight decays; no setting has more than one")
    every = sorted({w for _, group in groups for w in group.weight_decay.unique()})
    by_lambda = looks(every, material.palette)
    across = min(len(groups), 3)
    blocks = -(-len(groups) // across)
    size = (COLUMN if across == 1 else PAGE, 3.8 * blocks + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(2 * blocks, across, squeeze=False)
    for axes in grid.flat:
        axes.set_visible(False)
    shown = []
    for index, ((dataset, noise, model), group) in enumerate(groups):
        block, column = divmod(index, across)
        pair = grid[2 * block : 2 * block + 2, column]
        for axes, quantity in zip(pair, ("loss", "accuracy"), strict=True):
            axes.set_visible(True)
            spread_sparsity(axes, material.rounds)
            for weight_decay, setting in group.groupby("weight_decay"):
                label = f"λ = {weight_decay:g}"
                line(axes, setting, f"test_{quantity}", by_lambda[weight_decay], label)
            if column == 0:
                axes.set_ylabel("test accuracy [%]" if quantity == "accuracy" else "test loss")
        pair[0].set_xlabel("")
        pair[0].tick_params(labelbottom=False)
        pair[0].set_title(f"{model}, {dataset}\n{noise_name(noise)}")
        shown += list(pair)
    legend(figure, shown, seeds(*(group for _, group in groups)))
    return figure
