"""Compare the claims of two runs of a study, such as on two machines.

Takes the rounds.csv of each, with the study.json that lies beside it, and prints a table: a claim
agrees where both runs say the same of it (yes, no, not decided) and one mean lies within the
other's 95 % confidence interval.
"""

import argparse
import json
from pathlib import Path

import pandas as pd

from sdd.analysis import claims, collected
from sdd.analysis.agreement import Pair, compare
from sdd.analysis.claims import Claim
from sdd.base import layout
from sdd.base.errors import DataError
from sdd.base.files import opened
from sdd.base.records import from_dict
from sdd.report.naming import without_truth
from sdd.report.readable import readable, shared
from sdd.report.table_writer import markdown
from sdd.report.tables.claims import SETTING
from sdd.study.settings import EarlyStopping


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", type=Path, help="rounds.csv of a run")
    parser.add_argument("second", type=Path, help="rounds.csv of another run of the same study")


def run(args: argparse.Namespace) -> None:
    paths = (args.first, args.second)
    rules = [_rule(path) for path in paths]
    if rules[0] != rules[1]:
        raise DataError(
            f"{args.first} and {args.second} are of studies with different early_stopping, so "
            "that their claims differ. Run one of them again with the other's."
        )
    runs = [collected.chains(collected.read_copy(path)) for path in paths]
    pairs = compare(*(claims.ask(rounds, rules[0]) for rounds in runs))
    if not any(pair.first and pair.second for pair in pairs):
        raise DataError(f"{args.first} and {args.second} have no claim in common.")
    for name, path, rounds in zip(("first", "second"), paths, runs, strict=True):
        print(f"{name}: {path}, {_machine(rounds)}")
    frame = pd.DataFrame([_row(pair) for pair in pairs])
    common, header, rows = shared(readable(frame, without_truth(runs[0])))
    print(f"\n{common}\n\n{markdown(header, rows)}")
    agreeing = sum(pair.agree == claims.YES for pair in pairs)
    print(f"{agreeing} of {len(pairs)} claims agree.")


def _rule(rounds: Path) -> EarlyStopping:
    """Of the study whose rounds these are."""
    path = layout.config_of_rounds(rounds)
    with opened(path) as file:
        content = file.read()
    try:
        said = json.loads(content)["early_stopping"]
        rule, ends_chains = from_dict(EarlyStopping, said), said.get("ends_chains")
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} does not say early_stopping as a study does ({error}).") from None
    if ends_chains:
        raise DataError(f"{path}: early stopping ended the chains; the claims need whole ones.")
    return rule


def _machine(rounds: pd.DataFrame) -> str:
    """How many seeds, on which processor, with whose roundings."""
    known = [
        value
        for column in ("device", "instruction_set")
        if column in rounds
        for value in sorted(rounds[column].dropna().unique())
    ]
    return ", ".join([f"{rounds.seed.nunique()} seeds", *known])


def _row(pair: Pair) -> dict[str, object]:
    claim = pair.claim
    return {
        "claim": claim.sentence,
        **{name: claim.setting.get(name) for name in SETTING if name != "lambda_opt"},
        "unit": claim.unit,
        **_of_run("first", pair.first),
        **_of_run("second", pair.second),
        "agree": pair.agree,
    }


def _of_run(name: str, claim: Claim | None) -> dict[str, object]:
    if claim is None:
        return {}
    low, high = claim.interval
    return {
        f"{name}_mean": claim.mean, f"{name}_low": low, f"{name}_high": high,
        f"{name}_n": len(claim.values), f"{name}_holds": claim.holds,
    }  # fmt: skip
