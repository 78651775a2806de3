"""The paper's claims, asked of a study: each a sentence, a threshold, and a value for every seed.

What a study has no chains for is not asked, nor is a cure where there is nothing to be cured.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from sdd.analysis.collected import best_outcomes, stopped_outcomes, valleys
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
from sdd.analysis.intervals import interval
from sdd.analysis.paper import (
    OPTIMAL,
    STOPPED,
    TABLE_1,
    TABLE_2,
    VANILLA,
    Said,
    called,
    said_of_l2,
    said_of_the_valley,
    taught_by,
)
from sdd.study.methods import OUTSIDE
from sdd.study.settings import EarlyStopping

# What the paper claims: points of accuracy gained, and percent saved, by l2 and by distillation.
GAINED, SAVED_BY_L2, SAVED_BY_DISTILLATION = 10, 30, 25
COSTS = {"flops": "FLOPs", "co2_g": "CO2"}

RELATIONS: dict[str, Callable[[Any, float], Any]] = {
    "more than": operator.gt,
    "at least": operator.ge,
    "at most": operator.le,
}
YES, NO, OPEN, UNKNOWN = "yes", "no", "not decided", "not measured"
NOT_KNOWN = "not known"  # and cannot be: what a teacher from outside has cost


@dataclass(frozen=True)
class Claim:
    """A sentence that puts a quantity on one side of a threshold, and the quantity in each seed.

    `values` are differences within a seed wherever two settings are compared.
    """

    sentence: str
    setting: Mapping[str, Any]  # data set, noise, model, weight decay, and the student's teaching
    unit: str
    relation: str  # of RELATIONS
    threshold: float
    values: pd.Series
    said: Said
    lambda_opt: float | None = None
    knowable: bool = True

    @property
    def mean(self) -> float:
        """Over the seeds; NaN where one has no value."""
        return float(self.values.mean(skipna=False))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the mean; NaN of one seed."""
        return interval(self.values)

    @property
    def seeds_for(self) -> int:
        """How many seeds' values lie on the claimed side by themselves."""
        return int(RELATIONS[self.relation](self.values, self.threshold).sum())

    @property
    def holds(self) -> str:
        """`yes` where the whole interval lies on the claimed side of the threshold, `no` where all
        of it lies on the other; else, and of one seed, `not decided`. Without the value of a seed
        `not measured`, or `not known` where nobody can know it."""
        if self.values.isna().any():
            return UNKNOWN if self.knowable else NOT_KNOWN
        if len(self.values) < 2:
            return OPEN
        sides = {bool(RELATIONS[self.relation](end, self.threshold)) for end in self.interval}
        return OPEN if len(sides) > 1 else YES if sides == {True} else NO


def ask(rounds: pd.DataFrame, rule: EarlyStopping) -> list[Claim]:
    """Every claim that the chains of a study can be asked, the phenomenon first.

    A valley no deeper than the tolerance of `rule`, which also stops chains, is noise.
    """
    whole, stopped = best_outcomes(rounds), stopped_outcomes(rounds, rule)
    claims = list(_of_the_phenomenon(rounds, rule.tolerance))
    for group in weight_decays(rounds, rule):
        claims += _of_l2(group, whole, stopped, rule.tolerance)
    for taught in distillations(rounds):
        for kind in taught.students:
            claims += _of_distillation(taught, kind, whole, stopped, rule.tolerance)
        claims += _of_the_teachers(taught, stopped)
    return [claim for claim in claims if len(claim.values)]


def _of_the_phenomenon(rounds: pd.DataFrame, tolerance: float) -> Iterator[Claim]:
    alone = rounds[rounds.teacher == "none"]
    smallest = alone.groupby(SAME).weight_decay.transform("min")
    for key, group in alone[alone.weight_decay == smallest].groupby([*SAME, "weight_decay"]):
        yield Claim(
            "Pruned step by step, the model has a valley: its test accuracy falls more than "
            f"{tolerance:g} points below an earlier and a later round's",
            dict(zip([*SAME, "weight_decay"], key, strict=True)),
            "points", "more than", tolerance, _depths(group, tolerance),
            said_of_the_valley(*key[:3]),
        )  # fmt: skip


def _of_l2(
    group: WeightDecays, whole: pd.DataFrame, stopped: pd.DataFrame, tolerance: float
) -> Iterator[Claim]:
    """lambda_opt, stopped early, against the smallest weight decay, stopped early or not."""
    by_lambda = dict(tuple(group.rounds.groupby("weight_decay")))
    base, best = by_lambda[group.base], by_lambda[group.weight_decay]
    setting = {**_named(group, *SAME), "weight_decay": group.base}
    claim = partial(Claim, setting=setting, lambda_opt=group.weight_decay)

    yield from _of_the_cure(
        claim, best, base, tolerance, said_of_l2(group.model),
        "With the best l2 regularisation (λ_opt), the valley is shallower than at the smallest λ",
        f"With the best l2 regularisation (λ_opt), no valley is deeper than {tolerance:g} points",
    )  # fmt: skip
    new, old = same_seeds(of_chains(stopped, best), of_chains(whole, base))
    paper, paper_old = TABLE_1.rows[OPTIMAL], TABLE_1.rows[VANILLA]
    for quantity, cost, worse in (
        ("test_accuracy", "accuracy", "less accurate"),
        ("sparsity", "compressibility", "less sparse"),
    ):
        printed = getattr(paper_old, quantity) - getattr(paper, quantity)
        yield claim(
            f"λ_opt costs {cost}: its early stopped model is {worse} than the best of the whole "
            "chain at the smallest λ",
            unit="points", relation="more than", threshold=0, values=old[quantity] - new[quantity],
            said=Said(printed, f"{worse}", TABLE_1.title),
        )  # fmt: skip
    for method, kept, how in (
        (STOPPED, stopped, "stopped early too"), (VANILLA, whole, "as a whole chain"),
    ):  # fmt: skip
        new, old = same_seeds(of_chains(stopped, best), of_chains(kept, base))
        for cost, name in COSTS.items():
            printed = saved(getattr(paper, cost), getattr(TABLE_1.rows[method], cost))
            yield claim(
                f"λ_opt, stopped early, saves at least {SAVED_BY_L2} % of the {name} of the "
                f"smallest λ, {how}",
                unit="%", relation="at least", threshold=SAVED_BY_L2,
                values=saved(new[cost], old[cost]),
                said=Said(printed, f"at least {SAVED_BY_L2}", TABLE_1.title),
            )  # fmt: skip


def _of_distillation(
    group: Distilled, kind: str, whole: pd.DataFrame, stopped: pd.DataFrame, tolerance: float
) -> Iterator[Claim]:
    """A student, stopped early, against itself on its own, as a whole chain."""
    student, setting = group.students[kind], _named(group, *_SETTING)
    distilled = f"Distilled from {called(kind)}"
    says = _nothing if kind == OUTSIDE else Said  # of such teachers the paper claims nothing
    claim = partial(Claim, setting=setting)
    yield from _of_the_cure(
        claim, student, group.vanilla, tolerance,
        says(words="no valley", setting="VGG-like, CIFAR"),
        f"{distilled}, the student has a shallower valley than alone",
        f"{distilled}, the student has no valley deeper than {tolerance:g} points",
    )  # fmt: skip
    yield claim(
        f"{distilled}, the student is more accurate than alone, on average over all rounds",
        unit="points", relation="more than", threshold=0,
        values=gained_over_rounds(student, group.vanilla),
        said=says(words="better (figure 5)", setting="VGG-like, CIFAR"),
    )  # fmt: skip

    new, old = same_seeds(of_chains(stopped, student), of_chains(whole, group.vanilla))
    paper, alone = TABLE_2.rows.get(taught_by(kind)), TABLE_2.rows[VANILLA]
    gain = paper.test_accuracy - alone.test_accuracy if paper else float("nan")
    yield claim(
        f"{distilled} and stopped early, the student is more than {GAINED} points more accurate "
        "than the best of its whole chain alone",
        unit="points", relation="more than", threshold=GAINED,
        values=new.test_accuracy - old.test_accuracy,
        said=says(gain, f"more than {GAINED}", TABLE_2.title),
    )  # fmt: skip
    for cost, name, words in (
        ("flops", "FLOPs", f"about {SAVED_BY_DISTILLATION}"),
        ("co2_g", "CO2", f"more than {SAVED_BY_DISTILLATION}"),
    ):
        sentence = (
            f"{distilled} and stopped early, the student saves at least {SAVED_BY_DISTILLATION} % "
            f"of the {name} of its whole chain alone"
        )
        printed = saved(getattr(paper, cost), getattr(alone, cost)) if paper else float("nan")
        for text, column, said in (
            (sentence, cost, says(printed, words, TABLE_2.title)),
            (f"{sentence}, with its teacher's counted", f"total_{cost}",
             says(words="does not count it", setting=TABLE_2.title)),
        ):  # fmt: skip
            yield claim(
                text, unit="%", relation="at least", threshold=SAVED_BY_DISTILLATION,
                values=saved(new[column], old[column]), said=said,
                knowable=kind != OUTSIDE or column == cost,
            )  # fmt: skip


def _of_the_teachers(group: Distilled, stopped: pd.DataFrame) -> Iterator[Claim]:
    """The sparse teacher's student against the dense one's."""
    if not {"best", "dense"} <= group.students.keys():
        return
    best, dense = same_seeds(
        *(of_chains(stopped, group.students[kind]) for kind in ("best", "dense"))
    )
    paper = (TABLE_2.rows[taught_by(kind)].test_accuracy for kind in ("best", "dense"))
    yield Claim(
        "The student of the best teacher is more accurate than that of the dense one, both stopped "
        "early",
        _named(group, *_SETTING), "points", "more than", 0,
        best.test_accuracy - dense.test_accuracy,
        Said(next(paper) - next(paper), "more accurate", TABLE_2.title),
    )  # fmt: skip


def _of_the_cure(
    claim: Callable[..., Claim],
    new: pd.DataFrame,
    old: pd.DataFrame,
    tolerance: float,
    said: Said,
    shallower: str,
    none: str,
) -> Iterator[Claim]:
    """Whether a remedy lessens the valley, and whether any is left; where there is one without."""
    left, before = _depths(new, tolerance), _depths(old, tolerance)
    if not before.mean() > tolerance:
        return
    less = (before - left).dropna()
    yield claim(shallower, unit="points", relation="more than", threshold=0, values=less, said=said)
    yield claim(
        none, unit="points", relation="at most", threshold=tolerance, values=left[less.index],
        said=said,
    )  # fmt: skip


def _nothing(number: float = 0, words: str = "", setting: str = "") -> Said:
    return Said()


_SETTING = (*SAME, "weight_decay", *TEACHING)


def _named(group: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(group, name) for name in names}


def _depths(rounds: pd.DataFrame, tolerance: float) -> pd.Series:
    """How deep the valley of each seed's chain is, in points."""
    return valleys(rounds, tolerance).set_index("seed").depth
