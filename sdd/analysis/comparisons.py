"""The two comparisons of the paper: chains that differ in weight decay, or in their teacher only.

All functions take chains as `sdd.analysis.collected.chains` returns them.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from sdd.analysis.collected import METHOD, curve, stopped_outcomes
from sdd.analysis.descent import valley
from sdd.analysis.paper import Method
from sdd.study.methods import DENSE, OUTSIDE, SELECTIONS
from sdd.study.settings import EarlyStopping

SAME = ["dataset", "noise", "model", *METHOD]  # what is equal in every comparison


class WeightDecays(NamedTuple):
    """Chains without a teacher that differ in nothing but weight decay (and seed)."""

    dataset: str
    noise: str
    model: str
    criterion: str
    scope: str
    retraining: str
    schedule: str
    keep: str
    rounds: pd.DataFrame
    base: float  # the smallest weight decay
    weight_decay: float  # lambda_opt


def with_weight_decays(rounds: pd.DataFrame) -> Iterator[tuple[tuple[str, ...], pd.DataFrame]]:
    """The chains without a teacher of every setting, by SAME, that has several weight decays."""
    vanilla = rounds[rounds.teacher == "none"]
    for key, group in vanilla.groupby(SAME):
        if group.weight_decay.nunique() > 1:
            yield key, group


def weight_decays(rounds: pd.DataFrame, rule: EarlyStopping) -> Iterator[WeightDecays]:
    for key, group in with_weight_decays(rounds):
        optimal = optimal_weight_decay(group, rule)
        yield WeightDecays(*key, group, group.weight_decay.min(), optimal)


def optimal_weight_decay(rounds: pd.DataFrame, rule: EarlyStopping) -> float:
    """Choose lambda_opt, by validation accuracy alone.

    The paper means by it the lambda at which the valley vanishes; beyond it, accuracy only drops.
    So: among the lambdas whose mean curve has no valley deeper than the rule's tolerance, and
    whose early stopped model is no worse than that of the smallest lambda, the one with the best
    early stopped model. Where none is like that (the paper's ResNet-18), the best early stopped
    model of all. Ties go to the smaller lambda.
    """
    stopped = stopped_outcomes(rounds, rule).groupby("weight_decay").validation_accuracy.mean()
    depth = rounds.groupby("weight_decay")[["round", "sparsity", "validation_accuracy"]].apply(
        lambda chains: valley(curve(chains, "validation_accuracy")["mean"]).depth
    )
    dodged = stopped[(depth <= rule.tolerance) & (stopped >= stopped.iloc[0])]
    return float((dodged if len(dodged) else stopped).idxmax())


# What makes a student's teaching.
TEACHING = ["teacher_model", "teacher_objective", "alpha", "temperature"]


class Distilled(NamedTuple):
    """A student on its own and behind its teachers, all else equal."""

    dataset: str
    noise: str
    model: str
    criterion: str
    scope: str
    retraining: str
    schedule: str
    keep: str
    weight_decay: float
    teacher_model: str
    teacher_objective: str
    alpha: float
    temperature: float
    vanilla: pd.DataFrame
    students: dict[str, pd.DataFrame]  # by what their teacher is: dense, best, ..., outside


def distillations(rounds: pd.DataFrame) -> Iterator[Distilled]:
    same = [*SAME, "weight_decay"]
    vanilla = dict(tuple(rounds[rounds.teacher == "none"].groupby(same)))
    distilled = rounds[rounds.teacher != "none"]
    for key, group in distilled.groupby([*same, *TEACHING], dropna=False):
        if key[: len(same)] in vanilla:
            yield Distilled(*key, vanilla[key[: len(same)]], by_teacher(group))


def method(group: WeightDecays | Distilled) -> Method:
    """How its chains are pruned and retrained."""
    return Method(*(getattr(group, name) for name in METHOD))


def by_teacher(students: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Students by what their teacher is, the dense one first, one from outside last."""
    found = dict(tuple(students.groupby("teacher")))
    return {kind: found[kind] for kind in (DENSE, *SELECTIONS, OUTSIDE) if kind in found}


# --- Two settings, seed by seed ---


def of_chains(kept: pd.DataFrame, rounds: pd.DataFrame) -> pd.DataFrame:
    """Those outcomes that are of the chains of `rounds`, by seed."""
    return kept[kept.chain.isin(rounds.chain)].set_index("seed")


def same_seeds(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both, of the seeds that they share."""
    seeds = a.index.intersection(b.index)
    return a.loc[seeds], b.loc[seeds]


def saved(new: Any, old: Any) -> Any:
    """What is saved of the `old` cost, in percent; less than 0 where it grew."""
    return 100 * (1 - new / old)


def gained_over_rounds(new: pd.DataFrame, old: pd.DataFrame) -> pd.Series:
    """Points of test accuracy by which `new` is better, the mean over all rounds, by seed."""
    a, b = (r.pivot(index="round", columns="seed", values="test_accuracy") for r in (new, old))
    return (a - b).mean().dropna()
