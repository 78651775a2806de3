"""Tables of a study, computed from its rounds, with the paper's printed numbers beside them.

A table is a plain frame: one column a number, in base units (FLOPs, g, percent, points), means
and deviations apart. `write` stores it so, and once more rounded for reading. Deviations are the
sample standard deviation (ddof = 1) over seeds. What was not measured stays NaN and is never 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from sdd.descent import (
    Choice,
    best_round,
    interpolation_threshold,
    phases,
    stop_early,
    valley,
)
from sdd.files import replacing
from sdd.settings import EarlyStopping

# What makes a setting; its chains differ in their seed only.
SETTING = [
    "dataset", "noise", "model", "weight_decay",
    "teacher", "teacher_model", "teacher_objective", "alpha", "temperature",
]  # fmt: skip
COSTS = ["flops", "co2_g"]

VANILLA, STOPPED, OPTIMAL = "no early stop", "early stop", "lambda_opt, early stop"
DENSE, BEST = "dense teacher, early stop", "best teacher, early stop"


# --- The paper's numbers --------------------------------------------------------------------------


class Printed(NamedTuple):
    """A row of the paper's tables 1 and 2; `trainings` is inferred from its FLOPs."""

    trainings: int
    flops: float
    co2_g: float
    test_accuracy: float  # percent
    deviation: float
    sparsity: float  # percent


@dataclass(frozen=True)
class PaperTable:
    """One of the paper's tables, under the names that this project has for its setting."""

    title: str
    dataset: str
    noise: str
    model: str
    macs: float  # multiply-accumulates an image, forward
    epochs: int
    rows: dict[str, Printed]


TABLE_1 = PaperTable(
    "ViT, CIFAR-10, 10 %", "cifar10", "symmetric-0.1", "vit", macs=641.0e6, epochs=200,
    rows={
        VANILLA: Printed(23, 443.68e15, 563.5, 74.47, 0.01, 99.26),
        STOPPED: Printed(15, 289.33e15, 367.5, 68.07, 0.02, 95.60),
        OPTIMAL: Printed(10, 192.89e15, 245.0, 71.48, 0.06, 86.58),
    },
)  # fmt: skip
TABLE_2 = PaperTable(
    "VGG-like, CIFAR-10, 20 %", "cifar10", "symmetric-0.2", "vgg-5-5", macs=67.2e6, epochs=160,
    rows={
        VANILLA: Printed(30, 48.84e15, 510, 74.52, 1.20, 99.62),
        STOPPED: Printed(3, 4.88e15, 51, 60.23, 3.37, 36.00),
        DENSE: Printed(22, 35.82e15, 374, 81.52, 1.85, 99.26),
        BEST: Printed(22, 35.82e15, 374, 86.89, 0.16, 99.26),
    },
)  # fmt: skip


def paper_flops(trainings: int, epochs: int, macs: float, images: int = 50_000) -> float:
    """FLOPs as the paper counts them, inferred from its tables.

    Every round counts as dense; a forward pass costs 1 MAC, a backward pass 2, and a MAC counts
    as one operation.
    """
    return trainings * epochs * images * 3 * macs


# --- From rounds to chains ------------------------------------------------------------------------


def chains(rounds: pd.DataFrame) -> pd.DataFrame:
    """Every chain once, however many experiments share it, with its rounds in order."""
    frame = rounds.drop_duplicates(["chain", "round"]).sort_values([*SETTING, "seed", "round"])
    twins = frame[frame.duplicated([*SETTING, "seed", "round"], keep=False)]
    if len(twins):
        raise ValueError(
            "chains that rounds.csv cannot tell apart: " + ", ".join(sorted(set(twins.chain)))
        )
    return frame.reset_index(drop=True)


def curve(rounds: pd.DataFrame, column: str) -> pd.DataFrame:
    """One setting over its seeds: sparsity, mean, deviation and n of every round with a value."""
    known = rounds.dropna(subset=[column])
    by_round = known.groupby("round")
    values = by_round[column]
    return pd.DataFrame(
        {
            "sparsity": by_round["sparsity"].mean(),
            "mean": values.mean(),
            "deviation": values.std(),
            "n": values.count(),
        }
    )


def outcomes(rounds: pd.DataFrame, choose: Callable[[Sequence[float]], Choice]) -> pd.DataFrame:
    """One row a chain: the model that a rule keeps, and everything that had to be trained for it.

    `choose` sees validation accuracy only. The costs of a distilled chain's teacher, which the
    paper leaves out, stand apart: round 0 for a dense teacher, the whole chain for the best one,
    and the table of its answers, where there is one (else its passes are in the student's rounds).
    """
    by_chain = dict(tuple(rounds.groupby("chain", sort=False)))
    rows = []
    for name, chain in by_chain.items():
        choice = choose(chain.validation_accuracy.to_list())
        kept, billed = chain.iloc[choice.kept], chain.iloc[: choice.last + 1]
        own = billed[COSTS].sum(skipna=False)
        teacher = pd.Series(0.0, COSTS)
        if kept.teacher != "none":
            trained = by_chain.get(kept.teacher_chain, chain.iloc[:0])
            trained = trained.dropna(subset=["validation_accuracy"])
            trained = trained[trained["round"] == 0] if kept.teacher == "dense" else trained
            teacher = trained[COSTS].sum(skipna=False, min_count=1)
            if not pd.isna(kept.teacher_logits_flops):
                teacher += [kept[f"teacher_logits_{cost}"] for cost in COSTS]
        rows.append(
            {
                **kept[[*SETTING, "seed", "sparsity", "test_accuracy", "validation_accuracy"]],
                "chain": name,
                "kept_round": choice.kept,
                "last_round": choice.last,
                "stopped": choice.stopped,
                **own,
                **teacher.add_prefix("teacher_"),
                **(own + teacher).add_prefix("total_"),
            }
        )
    return pd.DataFrame(rows)


def best_outcomes(rounds: pd.DataFrame) -> pd.DataFrame:
    return outcomes(rounds, best_round)


def stopped_outcomes(rounds: pd.DataFrame, rule: EarlyStopping) -> pd.DataFrame:
    return outcomes(rounds, lambda validation: stop_early(validation, rule))


def over_seeds(rows: pd.DataFrame, columns: Sequence[str]) -> dict[str, float]:
    """Mean and deviation of each column; one seed without a value leaves both unknown."""
    return {
        f"{column}_{name}": statistic
        for column in columns
        for name, statistic in (
            ("mean", rows[column].mean(skipna=False)),
            ("deviation", rows[column].std(skipna=False)),
        )
    }


# --- The two comparisons of the paper -------------------------------------------------------------


class WeightDecays(NamedTuple):
    """Chains without a teacher that differ in nothing but weight decay (and seed)."""

    dataset: str
    noise: str
    model: str
    rounds: pd.DataFrame
    base: float  # the smallest weight decay
    weight_decay: float  # lambda_opt


def with_weight_decays(
    rounds: pd.DataFrame,
) -> Iterator[tuple[tuple[str, str, str], pd.DataFrame]]:
    """The chains of every (data set, noise, model) that has several weight decays, no teacher."""
    vanilla = rounds[rounds.teacher == "none"]
    for key, group in vanilla.groupby(["dataset", "noise", "model"]):
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


class Distillation(NamedTuple):
    """A student on its own and behind its teachers, all else equal."""

    dataset: str
    noise: str
    model: str
    weight_decay: float
    teacher_model: str
    teacher_objective: str
    alpha: float
    temperature: float
    vanilla: pd.DataFrame
    dense: pd.DataFrame
    best: pd.DataFrame


TEACHING = ["teacher_model", "teacher_objective", "alpha", "temperature"]


def distillations(rounds: pd.DataFrame) -> Iterator[Distillation]:
    same = ["dataset", "noise", "model", "weight_decay"]
    vanilla = dict(tuple(rounds[rounds.teacher == "none"].groupby(same)))
    distilled = rounds[rounds.teacher != "none"]
    for key, group in distilled.groupby([*same, *TEACHING], dropna=False):
        if key[: len(same)] in vanilla:
            dense, best = (group[group.teacher == kind] for kind in ("dense", "best"))
            yield Distillation(*key, vanilla[key[: len(same)]], dense, best)


# --- The tables -----------------------------------------------------------------------------------


def build(name: str, rounds: pd.DataFrame, early_stopping: EarlyStopping) -> pd.DataFrame:
    """One of TABLES. A valley no deeper than early stopping's tolerance counts as noise."""
    if name not in TABLES:
        raise ValueError(f"no table {name!r}; there are {', '.join(TABLES)}")
    rows = TABLES[name](chains(rounds), early_stopping)
    if not rows:
        raise ValueError(f"no chain in these rounds is one that table {name} is about")
    return pd.DataFrame(rows)


Rows = list[dict[str, Any]]


def _table1_l2(rounds: pd.DataFrame, rule: EarlyStopping) -> Rows:
    rows = []
    for group in weight_decays(rounds, rule):
        best, stopped = best_outcomes(group.rounds), stopped_outcomes(group.rounds, rule)
        for method, kept, weight_decay in (
            (VANILLA, best, group.base),
            (STOPPED, stopped, group.base),
            (OPTIMAL, stopped, group.weight_decay),
        ):
            seeds = kept[kept.weight_decay == weight_decay]
            depths = _valleys(
                group.rounds[group.rounds.weight_decay == weight_decay], rule.tolerance
            )
            rows.append(
                {
                    **dict(zip(group._fields[:3], group[:3], strict=True)),
                    "early_stop": method != VANILLA,
                    "lambda_opt": method == OPTIMAL,
                    "weight_decay": weight_decay,
                    **over_seeds(seeds, [*COSTS, "test_accuracy", "sparsity"]),
                    **over_seeds(depths, ["depth"]),
                    "n": len(seeds),
                    **_printed(TABLE_1, *group[:3], method),
                }
            )
    return rows


def _table2_distillation(rounds: pd.DataFrame, rule: EarlyStopping) -> Rows:
    rows = []
    best, stopped = best_outcomes(rounds), stopped_outcomes(rounds, rule)
    for group in distillations(rounds):
        for method, kept, source in (
            (VANILLA, best, group.vanilla),
            (STOPPED, stopped, group.vanilla),
            (DENSE, stopped, group.dense),
            (BEST, stopped, group.best),
        ):
            seeds = kept[kept.chain.isin(source.chain)]
            if seeds.empty:
                continue
            distilled = method in (DENSE, BEST)
            rows.append(
                {
                    **dict(zip(group._fields[:4], group[:4], strict=True)),
                    "early_stop": method != VANILLA,
                    "teacher": seeds.teacher.iloc[0],
                    **{name: getattr(group, name) if distilled else None for name in TEACHING},
                    **over_seeds(seeds, [*COSTS, "test_accuracy", "sparsity"]),
                    **over_seeds(seeds, [f"teacher_{c}" for c in COSTS]),
                    **over_seeds(seeds, [f"total_{c}" for c in COSTS]),
                    "n": len(seeds),
                    **_printed(TABLE_2, *group[:3], method),
                }
            )
    return rows


def _descent(rounds: pd.DataFrame, rule: EarlyStopping) -> Rows:
    rows = []
    for key, group in rounds.groupby(SETTING, dropna=False):
        facts = _valleys(group, rule.tolerance)
        with_valley = facts[facts.exists]
        mean = pd.DataFrame(
            {c: curve(group, c)["mean"] for c in ("test_accuracy", "train_accuracy")}
        )
        sparsity = group.groupby("round").sparsity.mean()
        found = phases(mean.test_accuracy, mean.train_accuracy, rule.tolerance)
        threshold = interpolation_threshold(mean.train_accuracy, rule.tolerance)
        rows.append(
            {
                **dict(zip(SETTING, key, strict=True)),
                "n": len(facts),
                "valleys": len(with_valley),
                **over_seeds(facts, ["dense_accuracy", "depth"]),
                "mean_curve_depth": valley(mean.test_accuracy).depth,
                **over_seeds(with_valley, [f"valley_{x}" for x in _PLACE]),
                **over_seeds(with_valley, [f"peak_{x}" for x in _PLACE]),
                **over_seeds(facts, ["final_accuracy"]),
                "interpolates_to": float("nan") if threshold is None else sparsity[threshold],
                **{
                    f"{name}_to": sparsity[stretch[-1]] if stretch else float("nan")
                    for name, stretch in vars(found).items()
                },
            }
        )
    return rows


def _early_stopping(rounds: pd.DataFrame, rule: EarlyStopping) -> Rows:
    own = (rule.patience, float(rule.tolerance))
    grid = sorted({(patience, t) for patience in (1, 3, 5) for t in (0.0, 1.0, 2.0)} | {own})
    rows = []
    for key, group in rounds.groupby(SETTING, dropna=False):
        whole = best_outcomes(group).flops
        for patience, tolerance in grid:
            kept = stopped_outcomes(group, EarlyStopping(patience, tolerance))
            kept["cost_share"] = 100 * kept.flops / whole
            rows.append(
                {
                    **dict(zip(SETTING, key, strict=True)),
                    "patience": patience,
                    "tolerance": tolerance,
                    "own_rule": (patience, tolerance) == own,
                    "n": len(kept),
                    "stopped": int(kept.stopped.sum()),
                    **over_seeds(kept, ["last_round", "kept_round", "sparsity", "test_accuracy"]),
                    **over_seeds(kept, ["flops", "cost_share"]),
                }
            )
    return rows


def _claims(rounds: pd.DataFrame, rule: EarlyStopping) -> Rows:
    """Every row compares two settings seed by seed."""
    whole, stopped = best_outcomes(rounds), stopped_outcomes(rounds, rule)
    rows = []

    for group in weight_decays(rounds, rule):
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
                rows.append(claim(text, "points", gain, "", printed))
            for cost, claimed in (("flops", ""), ("co2_g", "at least 30")):
                text = f"{_COST_NAMES[cost]} saved against {method}"
                printed = _saved(getattr(paper, cost), getattr(paper_old, cost))
                rows.append(claim(text, "%", _saved(new[cost], old[cost]), claimed, printed))
        rows += _valley_left(claim, best, base, rule.tolerance)

    for group in distillations(rounds):
        for method, student in ((DENSE, group.dense), (BEST, group.best)):
            if student.empty:
                continue
            claim = partial(_claim, group, method, TABLE_2)
            for alone, kept, accuracy, flops, co2 in (
                (VANILLA, whole, "more than 10", "about 25", "more than 25"),
                (STOPPED, stopped, "", "", ""),  # the paper claims nothing about this row
            ):
                new, old = _same_seeds(
                    _chains_of(stopped, student), _chains_of(kept, group.vanilla)
                )
                paper, paper_old = TABLE_2.rows[method], TABLE_2.rows[alone]

                text = f"test accuracy gained against {alone}"
                gain, paper_gain = (
                    a.test_accuracy - b.test_accuracy for a, b in ((new, old), (paper, paper_old))
                )
                rows.append(claim(text, "points", gain, accuracy, paper_gain))
                for cost, claimed in (("flops", flops), ("co2_g", co2)):
                    text = f"{_COST_NAMES[cost]} saved against {alone}"
                    printed = _saved(getattr(paper, cost), getattr(paper_old, cost))
                    rows.append(claim(text, "%", _saved(new[cost], old[cost]), claimed, printed))
                    total = _saved(new[f"total_{cost}"], old[f"total_{cost}"])
                    rows.append(claim(f"{text}, the teacher's counted", "%", total))
            gains = _by_round(student) - _by_round(group.vanilla)
            text = "test accuracy gained, mean over rounds"
            rows.append(claim(text, "points", gains.mean().dropna()))
            rows += _valley_left(claim, student, group.vanilla, rule.tolerance)
    return rows


def _online(rounds: pd.DataFrame, rule: EarlyStopping) -> Rows:
    """What chains that early stopping really ended have cost, beside what whole ones would."""
    by_chain = rounds.groupby("chain")
    outcome = stopped_outcomes(rounds.dropna(subset=["test_accuracy"]), rule)
    whole = by_chain.flops.max() * by_chain["round"].count()  # every round as dear as the dense one
    outcome["saved"] = 100 * (1 - outcome.flops / outcome.chain.map(whole))
    rows = []
    for key, kept in outcome.groupby(SETTING, dropna=False):
        rows.append(
            {
                **dict(zip(SETTING, key, strict=True)),
                "n": len(kept),
                "stopped": int(kept.stopped.sum()),
                **over_seeds(kept, ["last_round", "kept_round", "sparsity", "test_accuracy"]),
                **over_seeds(kept, ["flops", "saved", "total_flops"]),
            }
        )
    return rows


TABLES: dict[str, Callable[[pd.DataFrame, EarlyStopping], Rows]] = {
    "table1_l2": _table1_l2,
    "table2_distillation": _table2_distillation,
    "descent": _descent,
    "early_stopping": _early_stopping,
    "claims": _claims,
    "online": _online,
}


def _valleys(rounds: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """One row a chain: its dense and its last test accuracy, its valley and the peak behind it."""
    rows = []
    for _, chain in rounds.groupby("chain", sort=False):
        found, known = valley(chain.test_accuracy), chain.dropna(subset=["test_accuracy"])
        places = {"valley": chain.iloc[found.bottom], "peak": chain.iloc[found.after]}
        rows.append(
            {
                "seed": chain.seed.iloc[0],
                "dense_accuracy": known.test_accuracy.iloc[0],
                "final_accuracy": known.test_accuracy.iloc[-1],
                "depth": found.depth,
                "exists": found.exists(tolerance),
                **{
                    f"{name}_{short}": place[column]
                    for name, place in places.items()
                    for short, column in _PLACE.items()
                },
            }
        )
    return pd.DataFrame(rows)


_PLACE = {"round": "round", "sparsity": "sparsity", "accuracy": "test_accuracy"}
_COST_NAMES = {"flops": "FLOPs", "co2_g": "CO2"}


def _claim(
    group: WeightDecays | Distillation,
    method: str,
    table: PaperTable,
    text: str,
    unit: str,
    ours: pd.Series,
    claimed: str = "",
    paper: float | None = None,
) -> dict[str, Any]:
    """A row of `claims`: `ours` has one value a seed."""
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
    claim: Callable[..., dict[str, Any]], new: pd.DataFrame, old: pd.DataFrame, tolerance: float
) -> Rows:
    """How deep the valley still is, in percent of the one it is to cure; no row without one."""
    a, b = _same_seeds(*(_valleys(r, tolerance).set_index("seed") for r in (new, old)))
    left = (100 * a.depth / b.depth)[b.exists]
    return [claim("depth left of the valley", "%", left, "no valley")] if len(left) else []


def _saved(new: Any, old: Any) -> Any:
    return 100 * (1 - new / old)  # percent


def _chains_of(kept: pd.DataFrame, rounds: pd.DataFrame) -> pd.DataFrame:
    return kept[kept.chain.isin(rounds.chain)].set_index("seed")


def _same_seeds(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    seeds = a.index.intersection(b.index)
    return a.loc[seeds], b.loc[seeds]


def _by_round(rounds: pd.DataFrame) -> pd.DataFrame:
    return rounds.pivot(index="round", columns="seed", values="test_accuracy")


def _printed(table: PaperTable, dataset: str, noise: str, model: str, method: str) -> dict:
    """The paper's row beside ours; empty cells where the paper has none for this setting."""
    same = (dataset, noise, model) == (table.dataset, table.noise, table.model)
    row = table.rows[method] if same else None
    names = {
        "paper_flops": "flops",
        "paper_co2_g": "co2_g",
        "paper_test_accuracy_mean": "test_accuracy",
        "paper_test_accuracy_deviation": "deviation",
        "paper_sparsity": "sparsity",
    }
    return {name: getattr(row, field, float("nan")) for name, field in names.items()}


# --- For reading ----------------------------------------------------------------------------------


def noise_name(noise: str) -> str:
    """`symmetric-0.4` -> `40 % symmetric noise`; anything without a rate as it is."""
    named = re.fullmatch(r"(.+?)-(\d*\.?\d+(?:e-?\d+)?)", noise)
    return f"{100 * float(named[2]):g} % {named[1]} noise" if named else noise


# Header and decimals (None: four significant digits) of each column, its prefixes taken off.
HEADERS: dict[str, tuple[str, int | None]] = {
    "dataset": ("data set", None),
    "noise": ("label noise", None),
    "weight_decay": ("λ", None),
    "lambda_opt": ("λ_opt", None),
    "teacher_model": ("teacher's model", None),
    "teacher_objective": ("teacher's objective", None),
    "alpha": ("α", None),
    "temperature": ("τ", None),
    "n": ("seeds", 0),
    "early_stop": ("early stop", None),
    "flops": ("training cost [{unit}]", None),
    "co2_g": ("CO2 [g]", None),
    "test_accuracy": ("test accuracy [%]", 2),
    "sparsity": ("sparsity [%]", 2),
    "depth": ("valley depth [points]", 2),
    "mean_curve_depth": ("depth of the mean curve [points]", 2),
    "valleys": ("seeds with a valley", 0),
    "dense_accuracy": ("dense [%]", 2),
    "valley_round": ("valley: round", 1),
    "valley_sparsity": ("valley: sparsity [%]", 2),
    "valley_accuracy": ("valley: accuracy [%]", 2),
    "peak_round": ("peak: round", 1),
    "peak_sparsity": ("peak: sparsity [%]", 2),
    "peak_accuracy": ("peak: accuracy [%]", 2),
    "final_accuracy": ("last round [%]", 2),
    "interpolates_to": ("fits noisy labels to [%]", 2),
    "light_to": ("light phase to [%]", 2),
    "critical_to": ("critical phase to [%]", 2),
    "sweet_to": ("sweet phase to [%]", 2),
    "collapsed_to": ("collapsed phase to [%]", 2),
    "tolerance": ("tolerance [points]", None),
    "own_rule": ("this study's rule", None),
    "stopped": ("seeds stopped", 0),
    "last_round": ("last round trained", 1),
    "kept_round": ("round kept", 1),
    "cost_share": ("share of the whole chain [%]", 1),
    "saved": ("saved of a whole chain [%]", 1),
    "ours": ("ours", 1),
    "paper": ("paper", 1),
    "paper_setting": ("paper's setting", None),
}
TEACHING_HEADERS = {"teacher's model", "teacher's objective", "α", "τ"}
SETTING_HEADERS = {"data set", "label noise", "model", "λ", "teacher", *TEACHING_HEADERS}
OWNERS = {"paper_": "paper: ", "teacher_": "teacher's ", "total_": "total "}
UNITS = {1e15: "PFLOPs", 1e12: "TFLOPs", 1e9: "GFLOPs", 1e6: "MFLOPs", 1.0: "FLOPs"}


def write(frame: pd.DataFrame, stem: Path | str) -> None:
    """Write a table as <stem>.csv (every digit, base units), <stem>.md and <stem>.tex (rounded).

    What all rows have in common stands above the readable ones, once.
    """
    shared, header, rows = _shared(readable(frame))
    above = f"{shared}\n\n" if shared else ""
    above_latex = f"% {_escape(shared)}\n" if shared else ""
    for suffix, text in (
        ("csv", frame.to_csv(index=False, lineterminator="\n")),
        ("md", above + _markdown(header, rows)),
        ("tex", above_latex + _latex(header, rows)),
    ):
        with replacing(Path(f"{stem}.{suffix}")) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _shared(lines: list[list[str]]) -> tuple[str, list[str], list[list[str]]]:
    """What the setting of all rows, or of all that have a teacher, shares; and the rest."""
    if len(lines) <= 2:
        return "", lines[0], lines[1:]
    everywhere, taught, columns = [], [], []
    for name, *cells in zip(*lines, strict=True):
        values = set(cells) - {"-"} if name in TEACHING_HEADERS else set(cells)
        if name not in SETTING_HEADERS or len(values) > 1:
            columns.append([name, *cells])
        elif values:
            (taught if "-" in cells else everywhere).append(f"{name} {values.pop()}")
    sentences = [
        f"{who}: {'; '.join(what)}."
        for who, what in (("Everywhere", everywhere), ("With a teacher", taught))
        if what
    ]
    header, *rows = (list(line) for line in zip(*columns, strict=True))
    return " ".join(sentences), header, rows


def readable(frame: pd.DataFrame) -> list[list[str]]:
    """The header and the rows as text: means with deviations, one unit for all FLOPs.

    Columns without any value are left out, except for costs, which say that nobody measured them.
    """
    flops = frame.filter(regex=r"(^|_)flops(_mean)?$").max().max()
    scale = next((unit for unit in UNITS if flops >= unit), 1.0)
    columns = []
    for name in frame:
        base = name.removesuffix("_mean")
        measured = base.endswith((*COSTS, "ours")) and not base.startswith("paper_")
        if name.endswith("_deviation") or (frame[name].isna().all() and not measured):
            continue
        owner = next((o for o in OWNERS if base.startswith(o) and base not in HEADERS), "")
        header, digits = HEADERS.get(base.removeprefix(owner), (base.replace("_", " "), None))
        values = frame[name] / scale if base.endswith("flops") else frame[name]
        missing = "not measured" if measured else "-"
        if f"{base}_deviation" in frame:
            spread = frame[f"{base}_deviation"] / (scale if base.endswith("flops") else 1)
            cells = [
                _plus_minus(*pair, digits, missing) for pair in zip(values, spread, strict=True)
            ]
        else:
            cells = [_cell(value, digits, missing) for value in values]
        if name == "noise":
            cells = [noise_name(cell) for cell in cells]
        columns.append([OWNERS.get(owner, "") + header.format(unit=UNITS[scale]), *cells])
    return [list(row) for row in zip(*columns, strict=True)]


def _cell(value: Any, digits: int | None, missing: str = "-") -> str:
    if pd.isna(value) or value == "":
        return missing
    if pd.api.types.is_bool(value):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return f"{value:.4g}" if digits is None else f"{value:.{digits}f}"


def _plus_minus(mean: float, deviation: float, digits: int | None, missing: str) -> str:
    """Both with the same decimals: `digits`, or as many as show four digits of the mean.

    One seed has no deviation.
    """
    if pd.isna(mean):
        return missing
    if pd.isna(deviation):
        return _cell(mean, digits)
    if digits is None:
        digits = max(0, 3 - math.floor(math.log10(abs(mean)))) if mean else 0
    return f"{_cell(mean, digits)} ± {_cell(deviation, digits)}"


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _latex(header: list[str], rows: list[list[str]]) -> str:
    """A booktabs tabular; its document needs \\usepackage{booktabs}."""
    head, *body = (" & ".join(_escape(cell) for cell in line) + r" \\" for line in (header, *rows))
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{'l' * len(header)}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _escape(text: str) -> str:
    symbols = {
        "λ_opt": r"$\lambda_{\mathrm{opt}}$",
        "λ": r"$\lambda$",
        "α": r"$\alpha$",
        "τ": r"$\tau$",
        "±": r"$\pm$",
        "CO2": r"CO\textsubscript{2}",
        "%": r"\%",
        "&": r"\&",
        "#": r"\#",
        "_": r"\_",
    }
    return re.sub("|".join(map(re.escape, symbols)), lambda found: symbols[found[0]], text)
