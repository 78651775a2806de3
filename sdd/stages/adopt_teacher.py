"""Check the weights of a teacher from outside, and keep them with the study."""

import argparse

from sdd.stages import arguments as common
from sdd.study.specs import OutsideSpec


def arguments(parser: argparse.ArgumentParser) -> None:
    common.files(parser, "weights")


def run(args: argparse.Namespace) -> None:
    from sdd.rounds import outside

    facts = outside.adopt(OutsideSpec.from_dict(args.spec), args.weights, args.output)
    macs = f"{facts.macs.forward_macs:,}"
    args.log.write_text(
        f"{args.weights}: the weights of {facts.spec.model}, {macs} MACs\n", "utf-8"
    )
