"""Collect what is known of a study's deployed models into one table."""

import argparse
from pathlib import Path

from sdd.deployment import collecting
from sdd.deployment.specs import DeploymentsSpec


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("deployments", type=Path, nargs="+", help="the facts on each model")


def run(args: argparse.Namespace) -> None:
    collecting.collect(DeploymentsSpec.from_dict(args.spec), args.deployments, args.output)
