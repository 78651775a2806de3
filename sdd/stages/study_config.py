"""Write down the study's whole config, as a file that can be given to --configfile."""

import argparse

from sdd.base.files import canonical, replacing


def arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none of its own."""


def run(args: argparse.Namespace) -> None:
    with replacing(args.output) as temporary:
        temporary.write_text(canonical(args.spec["config"]) + "\n", "utf-8")
