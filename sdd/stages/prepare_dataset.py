"""Prepare one data set as a compact uint8 file."""

import argparse
import os
from pathlib import Path

from sdd.data import preparation
from sdd.data.settings import DatasetSpec


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--folder", nargs="?", help="holds the original files; without it they are downloaded"
    )


def run(args: argparse.Namespace) -> None:
    named = os.path.expanduser(os.path.expandvars(args.folder)) if args.folder else None
    folder = Path(named) if named else None
    preparation.prepare(DatasetSpec.from_dict(args.spec), folder, args.output)
