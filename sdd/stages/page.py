"""Write the page on which one explores a study, and what the report opens with."""

import argparse
from pathlib import Path

from sdd.analysis.facts import RoundsFacts
from sdd.base import layout
from sdd.base.files import read_record
from sdd.report import opening, seals
from sdd.report.page import contents, document
from sdd.report.specs import PageSpec
from sdd.stages import arguments as common


def arguments(parser: argparse.ArgumentParser) -> None:
    common.files(parser, "rounds", "first", "opening")
    parser.add_argument("tables", type=Path, nargs="*", help="those of the study, as .csv")


def run(args: argparse.Namespace) -> None:
    spec = PageSpec.from_dict(args.spec)
    made_from = read_record(layout.facts_of_rounds(args.rounds), RoundsFacts)
    for table in args.tables:
        seals.check(table, made_from)
    found = contents.build(spec, args.rounds, args.first, args.tables)
    document.write(args.output, found)
    opening.write(args.opening, found["tables"])
    seals.seal([args.opening], args.rounds)
