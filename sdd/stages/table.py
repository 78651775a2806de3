"""Write one table as .csv, .md and .tex, and what vouches for them."""

import argparse

from sdd.base import names
from sdd.report import table_writer
from sdd.report.material import Material
from sdd.report.naming import without_truth
from sdd.report.seals import seal
from sdd.report.specs import ReportSpec
from sdd.stages import arguments as common


def arguments(parser: argparse.ArgumentParser) -> None:
    common.files(parser, "rounds", "deployments")


def run(args: argparse.Namespace) -> None:
    spec = ReportSpec.from_dict(args.spec)
    material = Material.of(spec, args.rounds, deployments=args.deployments)
    table = table_writer.frame(spec.name, names.load(spec.builder)(material))
    stem = args.output.with_suffix("")
    seal(table_writer.write(table, stem, without_truth(material.rounds)), args.rounds)
