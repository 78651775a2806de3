"""Prepare one data set as a compact uint8 file."""

import argparse
from pathlib import Path

from sdd.base.files import expanded
from sdd.data import preparation
from sdd.data.settings import DatasetSpec


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--folder", nargs="?", help="holds the original files; without it they are downloaded"
    )


def run(args: argparse.Namespace) -> None:
    folder = Path(expanded(args.folder)) if args.folder else None
    preparation.prepare(DatasetSpec.from_dict(args.spec), folder, args.output)
