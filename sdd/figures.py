"""Figures of a study, drawn from its rounds: lines are means over seeds, bands one deviation.

The sparse end is where things happen, so sparsity is spread by the logarithm of the weights that
remain: every round of pruning is then equally wide. Lines differ in color, dash and marker.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, Locator

from sdd.descent import interpolation_threshold, phases
from sdd.files import replacing
from sdd.settings import EarlyStopping
from sdd.tables import (
    SETTING,
    chains,
    curve,
    distillations,
    noise_name,
    weight_decays,
    with_weight_decays,
)

STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.2,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}
COLUMN, PAGE = 3.4, 7.0  # widths of a figure in inches
TEACHER = "the teacher's own curve"
# Sparsities in percent, the most important first: others lose their label where there is no room.
TICKS = [0, 90, 99, 99.9, 50, 95, 99.5, 80, 99.8, 20]
SHORT_TICKS = [0, 50, 20, 80, 10, 30, 40, 60, 70]  # of an axis that ends before 90 %

Rounds = pd.DataFrame
Drawing = Callable[[Rounds, str, EarlyStopping | None], Figure]


def draw(
    name: str,
    rounds: Rounds,
    *,
    palette: str = "colorblind",
    early_stopping: EarlyStopping | None = None,
) -> Figure:
    """One of FIGURES. `palette`: a name that seaborn knows. Some need no rule of early stopping."""
    if name not in FIGURES:
        raise ValueError(f"no figure {name!r}; there are {', '.join(FIGURES)}")
    with matplotlib.rc_context(STYLE):
        return FIGURES[name](chains(rounds), palette, early_stopping)


def write(figure: Figure, stem: Path | str) -> None:
    """Write <stem>.png and <stem>.pdf; the same figure gives the same bytes."""
    for suffix, dated in (("png", "Software"), ("pdf", "CreationDate")):
        with matplotlib.rc_context(STYLE), replacing(Path(f"{stem}.{suffix}")) as temporary:
            figure.savefig(temporary, format=suffix, metadata={dated: None})


# --- The figures ----------------------------------------------------------------------------------


def _phenomenon(rounds: Rounds, palette: str, rule: EarlyStopping | None) -> Figure:
    """Figure 1, on the noisiest setting without a teacher: four phases, as the data tell them."""
    rule = _needed(rule, "figure1_phenomenon")
    vanilla = rounds[rounds.teacher == "none"]
    if vanilla.empty:
        raise ValueError("figure1_phenomenon shows a chain without a teacher; there is none")
    # Rates as they came out, so rounded: seeds of one setting may differ a little.
    vanilla = vanilla.assign(noise_rate=vanilla.noise_rate.fillna(0).round(2))
    first = vanilla.sort_values(
        ["noise_rate", "weight_decay"], ascending=[False, True], kind="stable"
    ).iloc[0][["dataset", "noise", "model", "weight_decay"]]
    chosen = vanilla[(vanilla[first.index] == first).all(axis=1)]
    chosen = chosen.dropna(subset=["test_accuracy", "train_accuracy"])
    figure, (axes,) = _panels(1, height=2.7)
    test, train = _colors(["test", "train"], palette).values()
    _line(axes, chosen, "test_accuracy", test, "test")
    _line(axes, chosen, "train_accuracy", train, "training (its noisy labels)")

    means = [curve(chosen, f"{kind}_accuracy")["mean"] for kind in ("test", "train")]
    x = spread(curve(chosen, "test_accuracy")["sparsity"])
    edges = np.concatenate([x[:1], (x[1:] + x[:-1]) / 2, x[-1:]])
    for index, (name, stretch) in enumerate(vars(phases(*means, rule.tolerance)).items()):
        if stretch:
            left, right = edges[stretch.start], edges[stretch.stop]
            axes.axvspan(left, right, color=("0.97", "0.90")[index % 2], linewidth=0, zorder=0)
            # Names of short phases are wider than the phases, so they stand on two levels.
            last = stretch.stop == len(x)
            axes.annotate(
                name, (right if last else (left + right) / 2, 1.02 + 0.06 * (index % 2)),
                xycoords=axes.get_xaxis_transform(), ha="right" if last else "center", fontsize=7,
            )  # fmt: skip
    threshold = interpolation_threshold(means[1], rule.tolerance)
    if threshold not in (None, len(x) - 1):  # to the last round: its end is not in the figure
        axes.axvline(x[threshold], color="0.4", ls=":", lw=0.9, label="end of interpolation")
    axes.set_title(f"{first.model}, {first.dataset}, {noise_name(first.noise)}", pad=24)
    axes.set_ylabel("accuracy [%]")
    _legend(figure, [axes], _seeds(chosen))
    return figure


def _occurrence(rounds: Rounds, palette: str, _rule: EarlyStopping | None) -> Figure:
    """Figure 2: every noise of every model and data set, without a teacher, at the base lambda."""
    vanilla = _base(rounds[rounds.teacher == "none"])
    if vanilla.empty:
        raise ValueError("figure2_occurrence shows chains without a teacher; there are none")
    looks = _colors(sorted(rounds.noise.unique()), palette)
    groups = list(vanilla.groupby(["model", "dataset"]))
    figure, panels = _panels(len(groups))
    for axes, ((model, dataset), group) in zip(panels, groups, strict=True):
        for noise, setting in group.groupby("noise"):
            _line(axes, setting, "test_accuracy", looks[noise], noise_name(noise))
            for source, points in _read_off(dataset, noise, model):
                x, y = np.transpose(points)
                axes.plot(
                    spread(x), y, linestyle="none", marker=SOURCES[source], markersize=5,
                    markerfacecolor="none", markeredgecolor=looks[noise].color, alpha=0.6,
                    zorder=4, clip_on=False, label=source,
                )  # fmt: skip
        axes.set_title(f"{model}, {dataset}")
    _label_left(panels, "test accuracy [%]")
    _legend(figure, panels, _seeds(vanilla))
    return figure


def _l2(rounds: Rounds, palette: str, rule: EarlyStopping | None) -> Figure:
    """Figure 3: the base lambda beside lambda_opt, for every noise."""
    rule = _needed(rule, "figure3_l2")
    groups: dict[tuple[str, str], list] = {}
    for group in weight_decays(rounds, rule):
        groups.setdefault((group.model, group.dataset), []).append(group)
    if not groups:
        raise ValueError("figure3_l2 compares weight decays; no setting has more than one")
    colors = _colors(sorted(rounds.noise.unique()), palette)
    figure, panels = _panels(len(groups))
    for axes, ((model, dataset), some) in zip(panels, groups.items(), strict=True):
        for group in some:
            color, _, marker = colors[group.noise]
            for weight_decay, dash, name in (
                (group.base, DASHES[1], "λ"),
                (group.weight_decay, DASHES[0], "λ$_{opt}$"),
            ):
                if name == "λ" and group.base == group.weight_decay:
                    continue
                setting = group.rounds[group.rounds.weight_decay == weight_decay]
                label = f"{noise_name(group.noise)}, {name} = {weight_decay:g}"
                _line(axes, setting, "test_accuracy", Look(color, dash, marker), label)
        axes.set_title(f"{model}, {dataset}")
    _label_left(panels, "test accuracy [%]")
    _legend(figure, panels, _seeds(*(g.rounds for some in groups.values() for g in some)))
    return figure


def _distillation(rounds: Rounds, palette: str, _rule: EarlyStopping | None) -> Figure:
    """Figure 5: a student on its own and behind either teacher."""
    groups = list(distillations(rounds))
    if not groups:
        raise ValueError("figure5_distillation compares students with and without a teacher")
    alone, dense, best = _colors(["vanilla", "dense", "best"], palette).values()
    figure, panels = _panels(len(groups))
    for axes, group in zip(panels, groups, strict=True):
        taught = pd.concat([group.dense, group.best])
        for setting, look, label in (
            (group.vanilla, alone, "student alone"),
            (group.dense, dense, "distilled from the dense teacher"),
            (group.best, best, "distilled from the best teacher"),
        ):
            if len(setting):
                _line(axes, setting, "test_accuracy", look, label)
        if group.teacher_model != group.model:
            teacher = rounds[rounds.chain.isin(taught.teacher_chain)]
            if len(teacher):
                own = curve(teacher, "test_accuracy")
                axes.plot(
                    spread(own["sparsity"]), own["mean"], color="0.6", linewidth=0.8, zorder=1,
                    label=TEACHER,
                )  # fmt: skip
        axes.set_title(f"{group.model}, {group.dataset}\n{noise_name(group.noise)}")
    _say_what_differs(panels, groups)
    _label_left(panels, "test accuracy [%]")
    _legend(
        figure, panels, _seeds(*(part for g in groups for part in (g.vanilla, g.dense, g.best)))
    )
    return figure


def _l2_ablation(rounds: Rounds, palette: str, _rule: EarlyStopping | None) -> Figure:
    """Section 4's ablation: test loss above, test accuracy below, a line for every lambda."""
    groups = list(with_weight_decays(rounds))
    if not groups:
        raise ValueError("figure_l2_ablation compares weight decays; no setting has more than one")
    looks = _colors(sorted({w for _, g in groups for w in g.weight_decay.unique()}), palette)
    across = min(len(groups), 3)
    blocks = -(-len(groups) // across)
    figure = Figure(
        figsize=(COLUMN if across == 1 else PAGE, 3.8 * blocks + 0.6), layout="constrained"
    )
    grid = figure.subplots(2 * blocks, across, squeeze=False)
    for axes in grid.flat:
        axes.set_visible(False)
    shown = []
    for index, ((dataset, noise, model), group) in enumerate(groups):
        block, column = divmod(index, across)
        pair = grid[2 * block : 2 * block + 2, column]
        for axes, quantity in zip(pair, ("loss", "accuracy"), strict=True):
            axes.set_visible(True)
            _sparsity_axis(axes)
            for weight_decay, setting in group.groupby("weight_decay"):
                label = f"λ = {weight_decay:g}"
                _line(axes, setting, f"test_{quantity}", looks[weight_decay], label)
            if column == 0:
                axes.set_ylabel("test accuracy [%]" if quantity == "accuracy" else "test loss")
        pair[0].set_xlabel("")
        pair[0].tick_params(labelbottom=False)
        pair[0].set_title(f"{model}, {dataset}\n{noise_name(noise)}")
        shown += list(pair)
    _legend(figure, shown, _seeds(*(group for _, group in groups)))
    return figure


FIGURES: dict[str, Drawing] = {
    "figure1_phenomenon": _phenomenon,
    "figure2_occurrence": _occurrence,
    "figure3_l2": _l2,
    "figure5_distillation": _distillation,
    "figure_l2_ablation": _l2_ablation,
}


def _needed(rule: EarlyStopping | None, name: str) -> EarlyStopping:
    if rule is None:
        raise ValueError(f"{name} needs the rule of early stopping")
    return rule


class Weights(NamedTuple):
    """The weights that one round of one chain has kept."""

    weight_decay: float
    sparsity: float  # percent
    values: np.ndarray  # 1-D, pruned weights left out
    seed: int


def draw_weights(entries: Iterable[Weights | tuple], palette: str = "colorblind") -> Figure:
    """Figure 4: histograms of the kept weights, a panel a sparsity, an outline a weight decay.

    Several seeds of one weight decay are pooled. The widest thousandth of the weights is outside
    the axes; it would leave no room for the rest.
    """
    entries = [Weights(*entry) for entry in entries]
    if not entries:
        raise ValueError("figure4_weights has no weights to show")
    with matplotlib.rc_context(STYLE):
        sparsities = sorted({round(entry.sparsity, 1) for entry in entries})
        looks = _colors(sorted({entry.weight_decay for entry in entries}), palette)
        reach = max(np.quantile(np.abs(entry.values), 0.999) for entry in entries)
        edges = np.linspace(-reach, reach, 122)
        figure, panels = _panels(len(sparsities), spread_sparsity=False)
        for axes, sparsity in zip(panels, sparsities, strict=True):
            for weight_decay, look in looks.items():
                shown = [
                    entry.values
                    for entry in entries
                    if (entry.weight_decay, round(entry.sparsity, 1)) == (weight_decay, sparsity)
                ]
                if shown:
                    seaborn.histplot(
                        x=np.concatenate(shown), bins=edges, stat="density", element="step",
                        color=look.color, linestyle=look.dash, alpha=0.25,
                        label=f"λ = {weight_decay:g}", ax=axes,
                    )  # fmt: skip
            axes.set_title(f"{sparsity:g} % of the weights pruned" if sparsity else "unpruned")
            axes.set(xlabel="weight", ylabel="")
            axes.set_xlim(-reach, reach)
            axes.set_yscale("log")
        _label_left(panels, "density")
        seeds = len({entry.seed for entry in entries})
        _legend(figure, panels, "one seed" if seeds == 1 else f"{seeds} seeds pooled")
    return figure


# --- How lines, panels and legends look -----------------------------------------------------------


class Look(NamedTuple):
    color: Any
    dash: Any
    marker: str


DASHES = ["-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (4, 1.2, 1.2, 1.2)), (0, (7, 1.5))]
MARKERS = ["o", "s", "^", "v", "X", "P", "*"]


def _colors(keys: Sequence, palette: str) -> dict[Any, Look]:
    colors = seaborn.color_palette(palette, len(keys))
    return dict(zip(keys, map(Look, colors, cycle(DASHES), cycle(MARKERS)), strict=True))


def spread(sparsity: Any) -> Any:
    """Where a sparsity in percent lies on the axis: 0 % at 0, 90 % at 1, 99 % at 2."""
    return -np.log10(1 - np.asarray(sparsity, float) / 100)


def _line(axes: Axes, rounds: Rounds, column: str, look: Look, label: str) -> None:
    """One setting: its mean over seeds and, with more than one, a band of one deviation."""
    known = rounds.dropna(subset=[column])
    ylabel = axes.get_ylabel()
    seaborn.lineplot(
        known.assign(position=spread(known.sparsity)), x="position", y=column,
        errorbar="sd" if known.seed.nunique() > 1 else None,
        color=look.color, linestyle=look.dash, marker=look.marker, markevery=3,
        markeredgewidth=0, err_kws={"alpha": 0.2, "linewidth": 0}, label=label,
        legend=False, ax=axes,
    )  # fmt: skip
    axes.set_ylabel(ylabel)  # seaborn puts the column's name there


def _panels(
    count: int, height: float = 2.1, spread_sparsity: bool = True
) -> tuple[Figure, list[Axes]]:
    """A grid of panels, at most three in a row, as wide as a column or, from two on, a page."""
    across = 2 if count == 4 else min(count, 3)
    down = -(-count // across)
    size = (COLUMN if across == 1 else PAGE, height * down + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in panels[count:]:
        axes.set_visible(False)
    for axes in panels[:count]:
        if spread_sparsity:
            _sparsity_axis(axes)
    return figure, panels[:count]


def _sparsity_axis(axes: Axes) -> None:
    axes.xaxis.set_major_locator(_Ticks())
    axes.xaxis.set_major_formatter(_Labels())
    axes.margins(x=0.02)
    axes.set_xlabel("sparsity [%]")


class _Ticks(Locator):
    """Those of TICKS or SHORT_TICKS that an axis reaches."""

    def __call__(self) -> np.ndarray:
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> np.ndarray:
        ticks = np.sort(spread(TICKS if vmax >= spread(90) else SHORT_TICKS))
        return ticks[(vmin <= ticks) & (ticks <= vmax)]


class _Labels(Formatter):
    """Sparsities in percent, as many of them as the axis has room for."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{100 * (1 - 10**-x):g}"

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        axes = self.axis.axes
        left, right = self.axis.get_view_interval()
        points = axes.get_window_extent().width * 72 / axes.figure.dpi / (right - left)
        names = [self(value) for value in values]
        order = [f"{tick:g}" for tick in (TICKS if right >= spread(90) else SHORT_TICKS)]
        shown: list[tuple[float, float]] = []  # centers and half widths in points
        labels = dict.fromkeys(names, "")
        for value, name in sorted(zip(values, names, strict=True), key=lambda v: order.index(v[1])):
            center, half = value * points, 2 * len(name) + 1  # 7 pt digits, some space
            if all(abs(center - c) >= half + h for c, h in shown):
                shown.append((center, half))
                labels[name] = name
        return list(labels.values())


def _label_left(panels: Sequence[Axes], label: str) -> None:
    for axes in panels:
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel(label)


def _seeds(*parts: Rounds) -> str:
    """What lines and bands are, with the number of seeds behind each of their points."""
    trained = pd.concat(parts).dropna(subset="test_accuracy")
    seeds = trained.groupby([*SETTING, "round"], dropna=False).seed.nunique()
    few, many = seeds.min(), seeds.max()
    if many == 1:
        return "one seed"
    return f"mean ± standard deviation of {many if few == many else f'{few} to {many}'} seeds"


def _legend(figure: Figure, panels: Sequence[Axes], seeds: str) -> None:
    """One legend for all panels, below them and so never on top of the data."""
    named = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    inches = 0.6 + 0.058 * max(map(len, named))  # of the widest entry, roughly
    # Lines first, single marks behind them.
    named = dict(sorted(named.items(), key=lambda entry: entry[1].get_linestyle() == "None"))
    columns = max(1, min(len(named), int(figure.get_figwidth() / inches)))
    figure.legend(
        named.values(),
        named.keys(),
        loc="outside lower center",
        ncols=columns,
        title=seeds,
        title_fontsize=7,
    )


# --- What others have measured --------------------------------------------------------------------


class ReadOff(NamedTuple):
    """Points (sparsity, test accuracy), both in percent, read off a published figure."""

    dataset: str
    noise: str
    model: str
    source: str
    points: tuple[tuple[float, float], ...]


def _rounds(dense: float, *later: tuple[int, float]) -> tuple[tuple[float, float], ...]:
    """The paper's points, known by round: each prunes 20 % of what is left."""
    return tuple((100 * (1 - 0.8**r), accuracy) for r, accuracy in ((0, dense), *later))


PAPER, HE = "the paper, read off its fig. 2", "He et al. 2022, read off"
SOURCES = {PAPER: "D", HE: "h"}  # markers
READ_OFF = [
    # +-0.2 points; valley, peak and last round.
    *(
        ReadOff(dataset, noise, "vit", PAPER, points)
        for dataset, noise, points in (
            ("cifar10", "symmetric-0.1", _rounds(70.9, (14, 68.1), (22, 74.5), (30, 63.5))),
            ("cifar10", "symmetric-0.2", _rounds(64.1, (13, 58.9), (22, 71.3), (30, 62.3))),
            ("cifar10", "symmetric-0.5", _rounds(42.8, (14, 33.7), (25, 61.3), (30, 36.4))),
            ("cifar100", "symmetric-0.1", _rounds(45.1, (12, 43.3), (20, 47.3), (30, 27.5))),
            ("cifar100", "symmetric-0.2", _rounds(39.2, (12, 36.1), (21, 44.1), (30, 26.8))),
            ("cifar100", "symmetric-0.5", _rounds(23.5, (13, 19.8), (22, 31.5), (30, 15.7))),
            ("cifar100n", "human", _rounds(36.6, (12, 33.9), (21, 40.4), (30, 22.3))),
        )
    ),
    # +-0.3 points; valley and peak.
    *(
        ReadOff(dataset, "symmetric-0.2", model, HE, points)
        for dataset, model, points in (
            ("mnist", "lenet-300-100", ((0, 83.4), (89.3, 76.6), (98.85, 95.4))),
            ("cifar10", "resnet18", ((0, 83.3), (98.2, 78.2), (99.53, 87.7))),
            ("cifar100", "resnet18", ((0, 60.5), (97.2, 54.3), (99.08, 59.7))),
        )
    ),
]


def _read_off(dataset: str, noise: str, model: str) -> Iterator[tuple[str, tuple]]:
    noise = "human" if noise.startswith("human-") else noise
    for known in READ_OFF:
        if (known.dataset, known.noise, known.model) == (dataset, noise, model):
            yield known.source, known.points


def _base(rounds: Rounds) -> Rounds:
    """Of every data set, noise and model, the chains with the smallest weight decay."""
    smallest = rounds.groupby(["dataset", "noise", "model"]).weight_decay.transform("min")
    return rounds[rounds.weight_decay == smallest]


def _say_what_differs(panels: Sequence[Axes], groups: Sequence[Any]) -> None:
    """Name in the titles whatever settings of distillation the panels do not share, wrapped."""
    names = {
        "weight_decay": "λ",
        "teacher_model": "teacher",
        "teacher_objective": "teacher's objective",
        "alpha": "α",
        "temperature": "τ",
    }
    differing = [f for f in names if len({str(getattr(group, f)) for group in groups}) > 1]
    for axes, group in zip(panels, groups, strict=True):
        setting, noise = axes.get_title().split("\n")
        parts = [noise, *(f"{names[field]} {getattr(group, field)}" for field in differing)]
        letters = 100 // axes.get_gridspec().ncols
        wrapped = textwrap.fill(", ".join(parts), letters, break_on_hyphens=False)
        axes.set_title(f"{setting}\n{wrapped}")
