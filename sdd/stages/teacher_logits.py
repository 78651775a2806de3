"""Tabulate a frozen teacher's logits for every image under every outcome of the augmentation."""

import argparse
from functools import partial

from sdd.machine.devices import Lease
from sdd.machine.memory import enough_memory
from sdd.rounds import teacher_logits
from sdd.stages import arguments as common
from sdd.study.specs import TeacherLogitsSpec


def arguments(parser: argparse.ArgumentParser) -> None:
    common.files(parser, "dataset", "labels", "teacher")
    common.device(parser)


def run(args: argparse.Namespace) -> None:
    lease = Lease(args.device, args.sharing, bool(args.deterministic))
    with args.log.open("w", encoding="utf-8") as file, lease:
        log = partial(print, file=file, flush=True)
        device = lease.device(log)
        # Its batches are of one size; a student beside its teacher needs no table of logits.
        changes = ("precision: bfloat16 in the teacher's recipe", "distillation.largest_table: 0")
        what, on_gpu = f"the logits of {args.teacher}", device.type != "cpu"
        with enough_memory(what, on_gpu, args.sharing, changes):
            teacher_logits.make(
                TeacherLogitsSpec.from_dict(args.spec),
                dataset=args.dataset,
                labels=args.labels,
                teacher=args.teacher,
                output=args.output,
                device=device,
                log=log,
            )
