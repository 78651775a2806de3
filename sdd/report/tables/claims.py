"""What the paper claims, what its own tables give, and what came out here, seed by seed."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pandas as pd

from sdd.analysis.collected import best_outcomes, over_seeds, stopped_outcomes, valleys
from sdd.analysis.comparisons import (
    TEACHING,
    Distilled,
    WeightDecays,
    distillations,
    weight_decays,
)
from sdd.analysis.paper import (
    BEST,
    DENSE,
    OPTIMAL,
    STOPPED,
    TABLE_1,
    TABLE_2,
    VANILLA,
    PaperTable,
)
from sdd.report.material import Material

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
        for method, student in ((DENSE, taught.dense), (BEST, taught.best)):
            if len(student):
                rows += _of_distillation(taught, method, student, whole, stopped, rule.tolerance)
    return rows


def _of_regularisation(
    group: WeightDecays, whole: pd.DataFrame, stopped: pd.DataFrame, tolerance: float
) -> Iterator[Row]:
    """lambda_opt, stopped early, against the smallest weight decay, stopped early or not."""
    by_lambda = dict(tuple(group.rounds.groupby("weight_decay")))
    base, best = by_lambda[group.base], by_lambda[group.weight_decay]
    claim = partial(_claim, group, OPTIMAL, TABLE_1)
    for method, kept in ((STOPPED, stopped), (VANILLA, whole)):
        new, old = _same_seeds(_chains_of(stopped, best), _chains_of(kept, base))
        paper, paper_old = TABLE_1.rows[OPTIMAL], TABLE_1.rows[method]

        for quantity in ("test_accuracy", "sparsity"):
            text = f"{quantity.replace('_', ' ')} gained against {method}"
            gain = new[quantity] - old[quantity]
            printed = getattr(paper, quantity) - getattr(paper_old, quantity)
            yield claim(text, "points", gain, "", printed)
        for cost, claimed in (("flops", ""), ("co2_g", "at least 30")):
            text = f"{COST_NAMES[cost]} saved against {method}"
            printed = _saved(getattr(paper, cost), getattr(paper_old, cost))
            yield claim(text, "%", _saved(new[cost], old[cost]), claimed, printed)
    yield from _valley_left(claim, best, base, tolerance)


def _of_distillation(
    group: Distilled,
    method: str,
    student: pd.DataFrame,
    whole: pd.DataFrame,
    stopped: pd.DataFrame,
    tolerance: float,
) -> Iterator[Row]:
    """A student, stopped early, against itself on its own, stopped early or not."""
    claim = partial(_claim, group, method, TABLE_2)
    for alone, kept, accuracy, flops, co2 in (
        (VANILLA, whole, "more than 10", "about 25", "more than 25"),
        (STOPPED, stopped, "", "", ""),  # the paper claims nothing about this row
    ):
        new, old = _same_seeds(_chains_of(stopped, student), _chains_of(kept, group.vanilla))
        paper, paper_old = TABLE_2.rows[method], TABLE_2.rows[alone]

        text = f"test accuracy gained against {alone}"
        gain, paper_gain = (
            a.test_accuracy - b.test_accuracy for a, b in ((new, old), (paper, paper_old))
        )
        yield claim(text, "points", gain, accuracy, paper_gain)
        for cost, claimed in (("flops", flops), ("co2_g", co2)):
            text = f"{COST_NAMES[cost]} saved against {alone}"
            printed = _saved(getattr(paper, cost), getattr(paper_old, cost))
            yield claim(text, "%", _saved(new[cost], old[cost]), claimed, printed)
            total = _saved(new[f"total_{cost}"], old[f"total_{cost}"])
            yield claim(f"{text}, the teacher's counted", "%", total)
    gains = _by_round(student) - _by_round(group.vanilla)
    yield claim("test accuracy gained, mean over rounds", "points", gains.mean().dropna())
    yield from _valley_left(claim, student, group.vanilla, tolerance)


def _claim(
    group: WeightDecays | Distilled,
    method: str,
    table: PaperTable,
    text: str,
    unit: str,
    ours: pd.Series,
    claimed: str = "",
    paper: float | None = None,
) -> Row:
    """`ours` has one value a seed."""
    setting = ["dataset", "noise", "model", "weight_decay", *TEACHING]
    return {
        "claim": text,
        **{name: getattr(group, name, None) for name in setting},
        "method": method,
        "unit": unit,
        **over_seeds(ours.to_frame("ours"), ["ours"]),
        "n": len(ours),
        "claimed": claimed,
        "paper": paper,
        "paper_setting": table.title,
    }


def _valley_left(
    claim: Callable[..., Row], new: pd.DataFrame, old: pd.DataFrame, tolerance: float
) -> Iterator[Row]:
    """How deep the valley still is, in percent of the one it is to cure; no row without one."""
    a, b = _same_seeds(*(valleys(r, tolerance).set_index("seed") for r in (new, old)))
    left = (100 * a.depth / b.depth)[b.exists]
    if len(left):
        yield claim("depth left of the valley", "%", left, "no valley")


def _saved(new: Any, old: Any) -> Any:
    return 100 * (1 - new / old)  # percent


def _chains_of(kept: pd.DataFrame, rounds: pd.DataFrame) -> pd.DataFrame:
    return kept[kept.chain.isin(rounds.chain)].set_index("seed")


def _same_seeds(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    seeds = a.index.intersection(b.index)
    return a.loc[seeds], b.loc[seeds]


def _by_round(rounds: pd.DataFrame) -> pd.DataFrame:
    return rounds.pivot(index="round", columns="seed", values="test_accuracy")
