"""Choose the round of a chain that becomes a teacher."""

import argparse
from pathlib import Path

from sdd.analysis import selection
from sdd.base.files import write_json
from sdd.study.specs import SelectionSpec


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rounds", type=Path, nargs="+", help="metrics of the chain's rounds")


def run(args: argparse.Namespace) -> None:
    spec = SelectionSpec.from_dict(args.spec)
    rounds = selection.read_candidates(args.rounds)
    choice = selection.select_teacher(rounds, spec.rule, spec.validation_images)
    write_json(args.output, choice.to_dict())
