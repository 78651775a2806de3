"""Choose the best round of a chain, which becomes a teacher."""

import argparse
from pathlib import Path

from sdd.analysis import selection
from sdd.base.files import write_json
from sdd.study.metrics import read_metrics


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rounds", type=Path, nargs="+", help="metrics of the chain's rounds")


def run(args: argparse.Namespace) -> None:
    choice = selection.select_teacher([read_metrics(path) for path in args.rounds])
    write_json(args.output, choice.to_dict())
