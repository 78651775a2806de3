"""Collect the metrics of every round of a study into one table."""

import argparse

from sdd.analysis import collecting
from sdd.analysis.specs import CollectSpec
from sdd.stages import arguments as common


def arguments(parser: argparse.ArgumentParser) -> None:
    common.files(parser, "first")


def run(args: argparse.Namespace) -> None:
    collecting.collect(CollectSpec.from_dict(args.spec), args.first, args.output)
