"""The command line: one thin subcommand for each stage of the pipeline.

    python -m sdd STAGE --spec JSON ... --output FILE

Every stage function imports what it needs when it runs, so that a stage that trains nothing does
not wait for torch; these imports also tell `sdd.fingerprint` which code the stage depends on.
"""

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from sdd.errors import DiskFull, SddError
from sdd.files import is_full


def prepare_dataset(args: argparse.Namespace) -> None:
    """Prepare one data set as a compact uint8 file."""
    from sdd import preparation

    source = args.spec["folder"]
    preparation.prepare(args.spec["dataset"], args.output.parent, Path(source) if source else None)


def noisy_labels(args: argparse.Namespace) -> None:
    """Hold out the validation set and corrupt the training labels."""
    from sdd import labelling

    made = labelling.make(args.spec, args.dataset.parent, args.output)
    args.log.write_text(
        f"realised noise rate {made['realised_rate']:.4f}, {made['train_images']} images\n"
    )


def train_round(args: argparse.Namespace) -> None:
    """Train one round of a chain, and maybe some ahead of it: dense, or prune and retrain."""
    from sdd import segment
    from sdd.devices import Lease

    with Lease(args.device, args.sharing) as lease:
        metrics = segment.run(
            args.spec,
            segment.Inputs(
                args.dataset, args.labels, args.parent, args.teacher, args.teacher_logits
            ),
            output=args.output,
            log=args.log,
            state=args.state,
            ahead=args.ahead,
            save_every=args.save_every,
            lease=lease,
        )
    print(segment.summary(metrics), file=sys.stderr)


def select_teacher(args: argparse.Namespace) -> None:
    """Choose the best round of a chain, which becomes a teacher."""
    from sdd import selection
    from sdd.files import read_json, write_json

    choice = selection.select_teacher([read_json(path) for path in args.inputs])
    write_json(args.output, choice)


def teacher_logits(args: argparse.Namespace) -> None:
    """Tabulate a teacher's answers to every image under every outcome of the augmentation."""
    from sdd import teacher_logits as tables_of_answers
    from sdd.devices import Lease

    with args.log.open("w") as file, Lease(args.device, args.sharing) as lease:
        log = partial(print, file=file, flush=True)
        tables_of_answers.make(
            args.spec,
            dataset=args.dataset,
            labels=args.labels,
            teacher=args.teacher,
            output=args.output,
            device=lease.device(log),
            log=log,
        )


def collect_rounds(args: argparse.Namespace) -> None:
    """Collect the metrics of every round of a study into one table."""
    from sdd import results

    results.collect(args.spec, args.first, args.output)


def table(args: argparse.Namespace) -> None:
    """Write one table as .csv, .md and .tex."""
    import pandas as pd

    from sdd import tables
    from sdd.settings import EarlyStopping

    frame = tables.build(
        args.spec["name"], pd.read_csv(args.rounds), EarlyStopping(**args.spec["early_stopping"])
    )
    tables.write(frame, args.output.with_suffix(""))


def figure(args: argparse.Namespace) -> None:
    """Draw one figure as .png and .pdf."""
    import pandas as pd

    from sdd import figures
    from sdd.settings import EarlyStopping

    rule = args.spec.get("early_stopping")
    drawn = figures.draw(
        args.spec["name"],
        pd.read_csv(args.rounds),
        palette=args.spec["palette"],
        early_stopping=EarlyStopping(**rule) if rule else None,
    )
    figures.write(drawn, args.output.with_suffix(""))


def figure_of_weights(args: argparse.Namespace) -> None:
    """Draw the histograms of some rounds' weights as .png and .pdf."""
    import pandas as pd

    from sdd import figures, histograms
    from sdd.settings import EarlyStopping

    rule = EarlyStopping(**args.spec["early_stopping"])
    entries = histograms.entries(args.inputs, pd.read_csv(args.rounds), rule)
    figures.write(figures.draw_weights(entries, args.spec["palette"]), args.output.with_suffix(""))


def plan(args: argparse.Namespace) -> None:
    """Say what a study costs, before it is run; for people, from the folder of config.yaml."""
    from sdd import bill, calibration, config, plan, study

    merged = config.read(args.configfile)
    study.validate(merged, study.read_schema())
    planned = study.Study.from_config(merged)
    machine = calibration.measure(planned, args.cores, partial(print, file=sys.stderr))
    drawn = plan.draw_up(planned, machine, plan.finished(planned))
    print(json.dumps(drawn.to_dict(), indent=1) if args.json else bill.text(drawn))


# What each stage takes beside --spec, --output and --log; `inputs` is a list of files.
STAGES: dict[Callable[[argparse.Namespace], None], tuple[str, ...]] = {
    prepare_dataset: (),
    noisy_labels: ("dataset",),
    train_round: (
        "dataset", "labels", "parent", "teacher", "teacher_logits", "state", "ahead",
        "save_every", "device", "sharing",
    ),
    select_teacher: ("inputs",),
    teacher_logits: ("dataset", "labels", "teacher", "device", "sharing"),
    collect_rounds: ("first",),
    table: ("rounds",),
    figure: ("rounds",),
    figure_of_weights: ("rounds", "inputs"),
}  # fmt: skip


def _interrupt_once(*_: object) -> None:
    """Whoever ends a job must not disturb it while it saves its progress."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sdd", description=__doc__.splitlines()[0])
    stages = parser.add_subparsers(required=True, metavar="STAGE")
    for stage, options in STAGES.items():
        command = stages.add_parser(stage.__name__, help=stage.__doc__)
        command.set_defaults(stage=stage)
        command.add_argument("--spec", type=json.loads, required=True, help="canonical JSON")
        command.add_argument("--output", type=Path, required=True)
        command.add_argument("--log", type=Path, required=True)
        for option in options:
            if option == "inputs":
                command.add_argument("inputs", type=Path, nargs="+")
            elif option in ("ahead", "sharing"):
                command.add_argument(f"--{option}", type=int, default=1)
            elif option == "save_every":
                command.add_argument("--save_every", type=float, default=60.0)
            elif option == "device":
                command.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
            else:  # an option without a value: the rule has no such input
                command.add_argument(f"--{option}", type=Path, nargs="?")
    command = stages.add_parser("plan", help=plan.__doc__)
    command.set_defaults(stage=plan, log=Path(os.devnull))
    command.add_argument("--configfile", type=Path, nargs="+", default=[], metavar="YAML")
    command.add_argument("--cores", type=int, default=os.cpu_count(), help="all if left out")
    command.add_argument("--json", action="store_true", help="for programs")
    args = parser.parse_args()
    args.log.write_text("")
    # SIGTERM too, so that a training saves its state and temporary files are removed.
    signal.signal(signal.SIGTERM, _interrupt_once)
    signal.signal(signal.SIGINT, _interrupt_once)
    try:
        args.stage(args)
    except KeyboardInterrupt:
        sys.exit("interrupted: run again, it goes on from what is finished or saved")
    except Exception as error:
        if is_full(error) and not isinstance(error, SddError):
            error = DiskFull(f"the disk is full: {error}. Make room and run snakemake again.")
        with suppress(OSError), args.log.open("a") as log:
            if isinstance(error, SddError):
                print(f"error: {error}", file=log)
            else:
                traceback.print_exc(file=log)
        if isinstance(error, SddError):
            sys.exit(f"error: {error}")
        raise


if __name__ == "__main__":
    main()
    # All is written and closed. To take an interpreter down that has torch takes 0.3 s.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
