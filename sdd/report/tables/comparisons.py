"""Every remedy against what it is to cure, seed by seed, and what the paper's tables give."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pandas as pd

from sdd.analysis.collected import best_outcomes, over_seeds, stopped_outcomes, valleys
from sdd.analysis.comparisons import (
    SAME,
    TEACHING,
    Distilled,
    WeightDecays,
    distillations,
    gained_over_rounds,
    of_chains,
    same_seeds,
    saved,
    weight_decays,
)
from sdd.analysis.paper import (
    OPTIMAL,
    STOPPED,
    TABLE_1,
    TABLE_2,
    VANILLA,
    PaperTable,
    taught_by,
)
from sdd.report.material import Material
from sdd.report.readable import COUNTED

Row = dict[str, Any]
COST_NAMES = {"flops": "FLOPs", "co2_g": "CO2"}


def build(material: Material) -> list[Row]:
    """Every row compares two settings seed by seed."""
    rounds, rule = material.rounds, material.rule
    whole, stopped = best_outcomes(rounds), stopped_outcomes(rounds, rule)
    rows: list[Row] = []
    for group in weight_decays(rounds, rule):
        rows += _of_regularisation(group, whole, stopped, rule.tolerance)
    for taught in distillations(rounds):
        for kind, student in taught.students.items():
            method = taught_by(kind)
            rows += _of_distillation(taught, method, student, whole, stopped, rule.tolerance)
    return rows


def _of_regularisation(
    group: WeightDecays, whole: pd.DataFrame, stopped: pd.DataFrame, tolerance: float
) -> Iterator[Row]:
    """lambda_opt, stopped early, against the smallest weight decay, stopped early or not."""
    by_lambda = dict(tuple(group.rounds.groupby("weight_decay")))
    base, best = by_lambda[group.base], by_lambda[group.weight_decay]
    compared = partial(_row, group, OPTIMAL, TABLE_1)
    for method, kept in ((STOPPED, stopped), (VANILLA, whole)):
        new, old = same_seeds(of_chains(stopped, best), of_chains(kept, base))
        paper, paper_old = TABLE_1.rows[OPTIMAL], TABLE_1.rows[method]

        for quantity in ("test_accuracy", "sparsity"):
            text = f"{quantity.replace('_', ' ')} gained against {method}"
            gain = new[quantity] - old[quantity]
            printed = getattr(paper, quantity) - getattr(paper_old, quantity)
            yield compared(text, "points", gain, printed)
        for cost, name in COST_NAMES.items():
            text = f"{name} saved against {method}"
            printed = saved(getattr(paper, cost), getattr(paper_old, cost))
            yield compared(text, "%", saved(new[cost], old[cost]), printed)
    yield from _valley_left(compared, best, base, tolerance)


def _of_distillation(
    group: Distilled,
    method: str,
    student: pd.DataFrame,
    whole: pd.DataFrame,
    stopped: pd.DataFrame,
    tolerance: float,
) -> Iterator[Row]:
    """A student, stopped early, against itself on its own, stopped early or not."""
    compared = partial(_row, group, method, TABLE_2)
    for alone, kept in ((VANILLA, whole), (STOPPED, stopped)):
        new, old = same_seeds(of_chains(stopped, student), of_chains(kept, group.vanilla))
        paper, paper_old = TABLE_2.rows.get(method), TABLE_2.rows[alone]

        gain = new.test_accuracy - old.test_accuracy
        printed = paper.test_accuracy - paper_old.test_accuracy if paper else None
        yield compared(f"test accuracy gained against {alone}", "points", gain, printed)
        for cost, name in COST_NAMES.items():
            text = f"{name} saved against {alone}"
            printed = saved(getattr(paper, cost), getattr(paper_old, cost)) if paper else None
            yield compared(text, "%", saved(new[cost], old[cost]), printed)
            total = saved(new[f"total_{cost}"], old[f"total_{cost}"])
            yield compared(text + COUNTED, "%", total)
    gains = gained_over_rounds(student, group.vanilla)
    yield compared("test accuracy gained, mean over rounds", "points", gains)
    yield from _valley_left(compared, student, group.vanilla, tolerance)


def _row(
    group: WeightDecays | Distilled,
    method: str,
    table: PaperTable,
    text: str,
    unit: str,
    ours: pd.Series,
    paper: float | None = None,
) -> Row:
    """`ours` has one value a seed."""
    setting = [*SAME, "weight_decay", *TEACHING]
    return {
        "comparison": text,
        **{name: getattr(group, name, None) for name in setting},
        "method": method,
        "unit": unit,
        **over_seeds(ours.to_frame("ours"), ["ours"]),
        "n": len(ours),
        "paper": paper,
        "paper_setting": table.title,
    }


def _valley_left(
    compared: Callable[..., Row], new: pd.DataFrame, old: pd.DataFrame, tolerance: float
) -> Iterator[Row]:
    """How deep the valley still is, in percent of the one it is to cure; no row without one."""
    a, b = same_seeds(*(valleys(r, tolerance).set_index("seed") for r in (new, old)))
    left = (100 * a.depth / b.depth)[b.exists]
    if len(left):
        yield compared("depth left of the valley", "%", left)
