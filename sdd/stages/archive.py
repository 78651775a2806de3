"""Write one file of a finished study, enough to check and redraw everything; or check such a file.

It is an RO-Crate 1.1 in a .zip, as Zenodo takes it.
"""

import argparse
import sys
from pathlib import Path

from sdd.archive import container, contents
from sdd.base.files import sha256
from sdd.study.opening import open_study


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--configfile", type=Path, nargs="+", default=[], metavar="YAML")
    parser.add_argument("--directory", type=Path, help="where the study was run, if not here")
    parser.add_argument(
        "--weights",
        choices=contents.WEIGHTS,
        default="shown",
        help="which are put in: none, those that a figure shows (if left out), with these the "
        "dense rounds' or the best rounds', or all",
    )
    parser.add_argument("--output", type=Path, metavar="ZIP", help="<study>.zip if left out")
    parser.add_argument("--check", type=Path, metavar="ZIP", help="only check this archive")


def run(args: argparse.Namespace) -> None:
    if args.check:
        count = container.check(args.check)
        print(f"{args.check}: all {count:,} files are as they were archived")
        return
    output = args.output.absolute() if args.output else None
    study = open_study(args.configfile, args.directory)
    print("Making every table and figure anew, to compare ...", file=sys.stderr)
    found = contents.gather(study, args.weights)
    output = output or Path(f"{study.name}.zip")
    container.write(output, study.name, found)
    size = output.stat().st_size / 1e6
    print(f"{output}: {len(found.files):,} files, {size:.1f} MB, sha256 {sha256(output)}")
