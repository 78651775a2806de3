"""Draw one figure as .png and .pdf, and write what vouches for them."""

import argparse
from pathlib import Path

from sdd.base import names
from sdd.report import figure_writer
from sdd.report.material import Material
from sdd.report.seals import seal
from sdd.report.specs import ReportSpec
from sdd.stages import arguments as common


def arguments(parser: argparse.ArgumentParser) -> None:
    common.files(parser, "rounds", "deployments")
    parser.add_argument(
        "weights", type=Path, nargs="*", help="metrics of the rounds whose weights it shows"
    )


def run(args: argparse.Namespace) -> None:
    spec = ReportSpec.from_dict(args.spec)
    material = Material.of(spec, args.rounds, args.weights, args.deployments)
    figure = figure_writer.drawn(names.load(spec.builder), material)
    seal(figure_writer.write(figure, args.output.with_suffix("")), args.rounds)
