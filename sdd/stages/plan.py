"""Say what a study costs, before it is run; for people, from the folder that it runs in."""

import argparse
import json
import os
import sys
from functools import partial
from pathlib import Path

from sdd.planning import bill, calibration, forecast, progress
from sdd.study.opening import open_study


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--configfile", type=Path, nargs="+", default=[], metavar="YAML")
    parser.add_argument("--directory", type=Path, help="where the study runs, if not here")
    parser.add_argument("--cores", type=_cores, default=os.cpu_count(), help="all if left out")
    parser.add_argument("--json", action="store_true", help="for programs")


def _cores(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of cores: 1 or more")
    return int(text)


def run(args: argparse.Namespace) -> None:
    study = open_study(args.configfile, args.directory)
    machine = calibration.measure(study, args.cores, partial(print, file=sys.stderr))
    drawn = forecast.draw_up(study, machine, progress.finished(study))
    print(json.dumps(drawn.to_dict(), indent=1) if args.json else bill.text(drawn))
