"""Train one round of a chain, and maybe some ahead of it: dense, or prune and retrain."""

import argparse
import sys
from pathlib import Path

from sdd.machine.devices import Lease
from sdd.rounds import segment
from sdd.rounds.inputs import Inputs
from sdd.stages import arguments as common
from sdd.study.specs import RoundSpec


def arguments(parser: argparse.ArgumentParser) -> None:
    common.files(parser, "dataset", "labels", "parent", "teacher", "teacher_logits", "origin")
    common.device(parser)
    parser.add_argument("--state", type=Path, help="folder of what unfinished trainings go on from")
    parser.add_argument("--ahead", type=int, default=1, help="rounds to train, this one included")
    parser.add_argument("--save_every", type=float, default=60.0, help="seconds")


def run(args: argparse.Namespace) -> None:
    inputs = Inputs(
        args.dataset, args.labels, args.parent, args.teacher, args.teacher_logits, args.origin
    )
    with Lease(args.device, args.sharing, bool(args.deterministic)) as lease:
        metrics = segment.run(
            RoundSpec.from_dict(args.spec),
            inputs,
            output=args.output,
            log=args.log,
            state=args.state,
            ahead=args.ahead,
            save_every=args.save_every,
            lease=lease,
        )
    print(segment.summary(metrics), file=sys.stderr)
