"""Figure 4: histograms of the kept weights, at the smallest weight decay and at lambda_opt."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import seaborn
from matplotlib.figure import Figure

from sdd.analysis.comparisons import optimal_weight_decay
from sdd.base.errors import DataError
from sdd.base.layout import data_of, round_name
from sdd.report.material import Material
from sdd.report.panels import grid, label_left, legend
from sdd.report.style import looks
from sdd.sparsity.checkpoint import read_checkpoint
from sdd.study.metrics import RoundMetrics, read_metrics


class Weights(NamedTuple):
    """The weights that one round of one chain has kept."""

    weight_decay: float
    sparsity: float  # percent
    values: np.ndarray  # 1-D, pruned weights left out
    seed: int


def draw(material: Material) -> Figure:
    return histograms(kept_weights(material), material.palette)


def kept_weights(material: Material) -> list[Weights]:
    """Of each round that is shown.

    `material.weights` are rounds of one setting's chains at every weight decay; a round that was
    not trained shows nothing.
    """
    found = [(path, _metrics(path)) for path in material.weights]
    chains = material.rounds
    setting = ["dataset", "noise", "model"]
    place = found[0][1].spec.chain
    first = chains[(chains.chain == place) | (chains.dense_chain == place)].iloc[0]
    group = chains[(chains[setting] == first[setting]).all(axis=1) & (chains.teacher == "none")]
    shown = {group.weight_decay.min(), optimal_weight_decay(group, material.rule)}
    result = []
    for path, metrics in found:
        decay = metrics.spec.recipe.weight_decay
        if decay in shown and metrics.ended is None:
            state, masks = read_checkpoint(data_of(path), metrics.weights_sha256)
            kept = np.concatenate([state[name][mask] for name, mask in masks.items()])
            result.append(Weights(decay, metrics.sparsity, kept, metrics.spec.seed))
    return result


def _metrics(path: Path) -> RoundMetrics:
    """Raises DataError where they are of another round than their place says."""
    metrics = read_metrics(path)
    place = f"{metrics.spec.chain}/{round_name(metrics.round)}"
    if not path.parent.as_posix().endswith(place):
        raise DataError(f"{path} is of {place}. Delete it and run snakemake again.")
    return metrics


def histograms(entries: Sequence[Weights], palette: str | None) -> Figure:
    """A panel a sparsity, an outline a weight decay, whose seeds are pooled.

    The widest thousandth of the weights is outside the axes; it would leave no room for the rest.
    """
    if not entries:
        raise ValueError("figure4_weights has no weights to show")
    sparsities = sorted({round(entry.sparsity, 1) for entry in entries})
    by_lambda = looks(sorted({entry.weight_decay for entry in entries}), palette)
    # A round may have been pruned to nothing.
    reach = max((np.quantile(np.abs(e.values), 0.999) for e in entries if e.values.size), default=0)
    reach = reach or 1.0
    edges = np.linspace(-reach, reach, 122)
    figure, panels = grid(len(sparsities))
    for axes, sparsity in zip(panels, sparsities, strict=True):
        for weight_decay, look in by_lambda.items():
            shown = [
                entry.values
                for entry in entries
                if (entry.weight_decay, round(entry.sparsity, 1)) == (weight_decay, sparsity)
            ]
            if any(values.size for values in shown):
                seaborn.histplot(
                    x=np.concatenate(shown), bins=edges, stat="density", element="step",
                    color=look.color, linestyle=look.dash, alpha=0.25,
                    label=f"λ = {weight_decay:g}", ax=axes,
                )  # fmt: skip
        title = f"{sparsity:g} % of the weights pruned" if sparsity else "unpruned"
        axes.set_title(title if axes.has_data() else f"{title}: none is left")
        axes.set(xlabel="weight", ylabel="")
        axes.set_xlim(-reach, reach)
        axes.set_yscale("log")
    label_left(panels, "density")
    count = len({entry.seed for entry in entries})
    legend(figure, panels, "one seed" if count == 1 else f"{count} seeds pooled")
    return figure
