"""Make deployed models of a chain's rounds, and measure what they are worth."""

import argparse
from functools import partial
from pathlib import Path

from sdd.deployment import packages
from sdd.deployment.specs import DeploySpec
from sdd.machine.devices import Lease
from sdd.machine.memory import enough_memory
from sdd.stages import arguments as common


def arguments(parser: argparse.ArgumentParser) -> None:
    common.files(parser, "dataset", "labels")
    parser.add_argument("rounds", type=Path, nargs="+", help="metrics of all rounds of the chain")
    common.device(parser)


def run(args: argparse.Namespace) -> None:
    packages.check()
    from sdd.deployment import deploy

    with args.log.open("w", encoding="utf-8") as file, Lease(args.device, args.sharing) as lease:
        log = partial(print, file=file, flush=True)
        device = lease.device(log)
        with enough_memory(
            f"deploying {args.output.parent.parent}", device.type != "cpu", args.sharing, ()
        ):
            deploy.make(
                DeploySpec.from_dict(args.spec),
                dataset=args.dataset,
                labels=args.labels,
                rounds=args.rounds,
                output=args.output,
                device=device,
                log=log,
            )
