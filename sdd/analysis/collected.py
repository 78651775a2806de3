"""The rounds of a study, as rounds.csv has them: chains, curves over seeds, outcomes of a rule.

What is said over seeds is a mean with its 95 % confidence interval (`sdd.analysis.intervals`) and
the sample standard deviation (ddof = 1). What was not measured stays NaN and is never 0.
"""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from sdd.analysis.descent import Choice, best_round, stop_early, valley
from sdd.analysis.facts import RoundsFacts
from sdd.analysis.intervals import half_width
from sdd.analysis.paper import Method
from sdd.base import layout
from sdd.base.errors import DataError
from sdd.base.files import opened, read_record, replacing, write_json
from sdd.base.records import to_dict
from sdd.study.settings import EarlyStopping

# What makes a setting; its chains differ in their seed only.
METHOD = list(Method._fields)  # how it is pruned and retrained
SETTING = [
    "dataset", "noise", "model", "weight_decay",
    "teacher", "teacher_model", "teacher_objective", "alpha", "temperature", *METHOD,
]  # fmt: skip
COSTS = ["flops", "co2_g"]

NEEDED = [
    "chain", "seed", "round", "sparsity", "validation_accuracy", "test_accuracy", *COSTS,
    "teacher_chain", *(f"teacher_logits_{cost}" for cost in COSTS),
]  # fmt: skip

# What `valleys` says of a place on a chain, and the columns that it is taken from.
PLACE = {"round": "round", "sparsity": "sparsity", "accuracy": "test_accuracy"}


def write(path: Path, rounds: pd.DataFrame) -> None:
    """Writes rounds.csv to `path`, and beside it what vouches for it."""
    write_vouched(path, layout.facts_of_rounds(path), rounds)


def read(path: Path) -> pd.DataFrame:
    """rounds.csv as it was written. Raises DataError, naming the file, where it is not."""
    return read_vouched(path, layout.facts_of_rounds(path))


def write_vouched(path: Path, facts: Path, table: pd.DataFrame) -> None:
    """Writes a table to `path`, and what vouches for it to `facts`."""
    content = table.to_csv(index=False, lineterminator="\n").encode()
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    checksum = hashlib.sha256(content).hexdigest()
    write_json(facts, to_dict(RoundsFacts(len(table), checksum)))


def read_vouched(path: Path, facts: Path) -> pd.DataFrame:
    """What `write_vouched` wrote. Raises DataError, naming the file, where it is altered."""
    vouched = read_record(facts, RoundsFacts)
    with opened(path) as file:
        content = file.read()
    if hashlib.sha256(content).hexdigest() != vouched.table_checksum:
        raise DataError(
            f"{path} was altered: it does not match {facts.name}. Delete it and run snakemake "
            "again; to change it, change a copy."
        )
    return pd.read_csv(io.BytesIO(content))


def read_copy(path: Path) -> pd.DataFrame:
    """rounds.csv where somebody has put it, also of a version that left nothing to vouch for it.

    Raises DataError, naming the file, where it is not one.
    """
    if layout.facts_of_rounds(path).exists():
        return read(path)
    with opened(path) as file:
        content = file.read()
    try:
        rounds = pd.read_csv(io.BytesIO(content))
    except ValueError as error:
        raise DataError(f"{path} is no table of rounds ({error}).") from None
    needed = {*SETTING, *NEEDED} - {*METHOD}
    lacking = [column for column in [*SETTING, *NEEDED] if column in needed - {*rounds}]
    if lacking:
        raise DataError(f"{path} is no table of rounds: it lacks {', '.join(lacking)}.")
    return rounds


def chains(rounds: pd.DataFrame) -> pd.DataFrame:
    """Every chain once, however many experiments share it, with its rounds in order."""
    # Tables from before a study could choose its method lack these columns, and in those from
    # before chains shared a dense round each has its own.
    frame = rounds.assign(
        **{
            name: rounds.get(name, pd.Series(usual, rounds.index)).fillna(usual)
            for name, usual in Method()._asdict().items()
        }
    )
    own = rounds.chain
    frame["dense_chain"] = rounds.get("dense_chain", own).fillna(own)
    frame = frame.drop_duplicates(["chain", "round"]).sort_values([*SETTING, "seed", "round"])
    twins = frame[frame.duplicated([*SETTING, "seed", "round"], keep=False)]
    if len(twins):
        raise ValueError(
            "chains that rounds.csv cannot tell apart: " + ", ".join(sorted(set(twins.chain)))
        )
    return frame.reset_index(drop=True)


def curve(rounds: pd.DataFrame, column: str) -> pd.DataFrame:
    """One setting over its seeds: sparsity and mean of every round with a value."""
    by_round = rounds.dropna(subset=[column]).groupby("round")
    return pd.DataFrame({"sparsity": by_round["sparsity"].mean(), "mean": by_round[column].mean()})


def outcomes(
    rounds: pd.DataFrame,
    choose: Callable[[Sequence[float]], Choice],
    by: str = "validation_accuracy",
) -> pd.DataFrame:
    """One row a chain: the model that a rule keeps, and everything that had to be trained for it.

    `choose` sees the column `by` only, which test data do not reach. The costs of a distilled
    chain's teacher, which the paper leaves out, stand apart: round 0 for a dense teacher, the whole
    chain for the best one, and its logits, where they were tabulated (else its passes are in the
    student's rounds). What a teacher from outside has cost is not known, and so is no sum that it
    is in.
    """
    by_chain = dict(tuple(rounds.groupby("chain", sort=False)))
    rows = []
    for name, chain in by_chain.items():
        choice = choose(chain[by].to_list())
        kept, billed = chain.iloc[choice.kept], chain.iloc[: choice.last + 1]
        own = billed[COSTS].sum(skipna=False)
        teacher = _spent_on_teacher(by_chain, kept, COSTS)
        rows.append(
            {
                **kept[[*SETTING, "seed", "sparsity", "test_accuracy", "validation_accuracy"]],
                "chain": name,
                "kept_round": choice.kept,
                "last_round": choice.last,
                "stopped": choice.ended_early,
                **own,
                **teacher.add_prefix("teacher_"),
                **(own + teacher).add_prefix("total_"),
            }
        )
    return pd.DataFrame(rows)


def _spent_on_teacher(
    by_chain: Mapping[str, pd.DataFrame], student: pd.Series, costs: Sequence[str]
) -> pd.Series:
    """What the teacher of a student, one of its rounds, has cost; 0 where it has none."""
    if student.teacher == "none":
        return pd.Series(0.0, costs)
    trained = by_chain.get(student.teacher_chain)
    if trained is None:  # of another study
        return pd.Series(float("nan"), costs)
    trained = trained.dropna(subset=["validation_accuracy"])
    trained = trained[trained["round"] == 0] if student.teacher == "dense" else trained
    teacher = trained[costs].sum(skipna=False, min_count=1)
    if not pd.isna(student.teacher_logits_flops):
        teacher += [student[f"teacher_logits_{cost}"] for cost in costs]
    return teacher


def spent(rounds: pd.DataFrame, costs: Sequence[str]) -> pd.DataFrame:
    """For every round what its chain has cost up to it, and the same with its teacher's cost.

    Columns spent_<cost> and total_spent_<cost>, of the same index as `rounds`.
    """
    by_chain = dict(tuple(rounds.groupby("chain", sort=False)))
    parts = []
    for chain in by_chain.values():
        own = chain[costs].cumsum(skipna=False)
        total = own + _spent_on_teacher(by_chain, chain.iloc[0], costs)
        parts.append(own.add_prefix("spent_").join(total.add_prefix("total_spent_")))
    return pd.concat(parts).reindex(rounds.index)


def at_smallest_weight_decay(rounds: pd.DataFrame) -> pd.DataFrame:
    """Of every data set, noise, model and method, the chains without a teacher and with the
    smallest one: what published curves are compared with."""
    vanilla = rounds[rounds.teacher == "none"]
    key = ["dataset", "noise", "model", *METHOD]
    smallest = vanilla.groupby(key).weight_decay.transform("min")
    return vanilla[vanilla.weight_decay == smallest]


def best_outcomes(rounds: pd.DataFrame) -> pd.DataFrame:
    return outcomes(rounds, best_round)


def stopped_outcomes(
    rounds: pd.DataFrame, rule: EarlyStopping, by: str = "validation_accuracy"
) -> pd.DataFrame:
    """The tolerance of `rule` is in units of the column `by`."""
    return outcomes(rounds, lambda curve: stop_early(curve, rule), by)


def valleys(rounds: pd.DataFrame, tolerance: float) -> pd.DataFrame:
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
                    for short, column in PLACE.items()
                },
            }
        )
    return pd.DataFrame(rows)


def over_seeds(rows: pd.DataFrame, columns: Sequence[str]) -> dict[str, float]:
    """Mean, half the width of its 95 % confidence interval, and deviation of each column.

    One seed without a value leaves all of them unknown.
    """
    return {
        f"{column}_{name}": statistic
        for column in columns
        for name, statistic in (
            ("mean", rows[column].mean(skipna=False)),
            ("half_width", half_width(rows[column])),
            ("deviation", rows[column].std(skipna=False)),
        )
    }
