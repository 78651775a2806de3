"""Figure 1, on the noisiest setting without a teacher: four phases, as the data tell them."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdd.analysis.collected import METHOD, curve
from sdd.analysis.descent import interpolation_threshold, phases
from sdd.report.lines import line, seeds
from sdd.report.material import Material
from sdd.report.naming import noise_name, nominal_rate, truth_known
from sdd.report.panels import legend, over_sparsity
from sdd.report.sparsity_axis import place
from sdd.report.style import looks


def draw(material: Material) -> Figure:
    chosen = _noisiest(material.rounds)
    figure, (axes,) = over_sparsity(1, chosen, height=2.7)
    test, train = looks(["test", "train"], material.palette).values()
    line(axes, chosen, "test_accuracy", test, "test")
    line(axes, chosen, "train_accuracy", train, "training (its noisy labels)")
    _show_phases(axes, chosen, material.rule.tolerance)
    first = chosen.iloc[0]
    noise = noise_name(first.noise, truth_known=truth_known(chosen))
    axes.set_title(f"{first.model}, {first.dataset}, {noise}", pad=24)
    axes.set_ylabel("accuracy [%]")
    legend(figure, [axes], seeds(chosen))
    return figure


def _noisiest(rounds: pd.DataFrame) -> pd.DataFrame:
    """Of the settings without a teacher the noisiest, at its smallest weight decay."""
    vanilla = rounds[rounds.teacher == "none"]
    if vanilla.empty:
        raise ValueError("figure1_phenomenon shows a chain without a teacher; there is none")
    # Rates as they came out, so rounded: seeds of one setting may differ a little. Of
    # an unknown one what was put in is known.
    rate = vanilla.noise_rate.fillna(vanilla.noise.map(nominal_rate)).round(2)
    first = (
        vanilla.assign(rate=rate)
        .sort_values(["rate", "weight_decay"], ascending=[False, True], kind="stable")
        .iloc[0][["dataset", "noise", "model", "weight_decay", *METHOD]]
    )
    chosen = vanilla[(vanilla[first.index] == first).all(axis=1)]
    return chosen.dropna(subset=["test_accuracy", "train_accuracy"])


def _show_phases(axes: Axes, chosen: pd.DataFrame, tolerance: float) -> None:
    """Shades the phases of the mean curves, and marks where interpolation ends."""
    test, train = (curve(chosen, f"{kind}_accuracy")["mean"] for kind in ("test", "train"))
    x = place(axes, curve(chosen, "test_accuracy")["sparsity"])
    edges = np.concatenate([x[:1], (x[1:] + x[:-1]) / 2, x[-1:]])
    for index, (name, stretch) in enumerate(vars(phases(test, train, tolerance)).items()):
        if stretch:
            left, right = edges[stretch.start], edges[stretch.stop]
            axes.axvspan(left, right, color=("0.97", "0.90")[index % 2], linewidth=0, zorder=0)
            # Names of short phases are wider than the phases, so they stand on two levels.
            last = stretch.stop == len(x)
            axes.annotate(
                name, (right if last else (left + right) / 2, 1.02 + 0.06 * (index % 2)),
                xycoords=axes.get_xaxis_transform(), ha="right" if last else "center", fontsize=7,
            )  # fmt: skip
    threshold = interpolation_threshold(train, tolerance)
    if threshold not in (None, len(x) - 1):  # to the last round: its end is not in the figure
        axes.axvline(x[threshold], color="0.4", ls=":", lw=0.9, label="end of interpolation")
