"""Have the report made that shows every table and figure, from files that are as they were made.

Another program makes it; what it says goes to the log. The report appears whole or not at all.
"""

import argparse
from pathlib import Path

from sdd.report import html_report
from sdd.report.specs import HtmlReportSpec
from sdd.stages import arguments as common


def arguments(parser: argparse.ArgumentParser) -> None:
    common.files(parser, "config", "rounds")
    parser.add_argument(
        "--shown", type=Path, nargs="*", help="tables (.csv), figures (.png) and what it opens with"
    )
    parser.add_argument(
        "--program", nargs=argparse.REMAINDER, help="its last argument, where to, is added"
    )


def run(args: argparse.Namespace) -> None:
    html_report.check(HtmlReportSpec.from_dict(args.spec), args.config, args.rounds, args.shown)
    html_report.make(args.program, args.output, args.log)
