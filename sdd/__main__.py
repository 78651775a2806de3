"""The command line: a subcommand for each stage of the pipeline, and some for people.

    python -m sdd STAGE --spec JSON ... --output FILE --log FILE

A stage is a module of `sdd.stages`: it says what it takes (`arguments`) and does it (`run`). Only
the one that is asked for is imported, so that a stage that trains nothing does not wait for torch,
and what it imports is the code that it depends on (`sdd.base.fingerprint`).
"""

import argparse
import io
import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from sdd.base.errors import DiskFull, FileUnusable, SddError
from sdd.base.files import is_full, start_log

# The jobs of the workflow: each has a module of its name, and one spec.
STAGES = {
    "prepare_dataset": "prepare one data set as a compact uint8 file",
    "noisy_labels": "hold out the validation set and corrupt the training labels",
    "check_model": "check a model of one's own, and that layers called by a name are there",
    "train_round": "train one round of a chain, and maybe some ahead of it",
    "select_teacher": "choose the round of a chain that becomes a teacher",
    "adopt_teacher": "check the weights of a teacher from outside, and keep them with the study",
    "teacher_logits": "tabulate a teacher's logits for every image under every augmentation",
    "collect_rounds": "collect the metrics of every round of a study into one table",
    "deploy": "make deployed models of a chain's rounds, and measure what they are worth",
    "collect_deployments": "collect what is known of a study's deployed models into one table",
    "table": "write one table as .csv, .md and .tex",
    "figure": "draw one figure as .png and .pdf",
    "page": "write the page on which one explores a study",
    "study_config": "write down the study's whole config",
    "html_report": "have the report made that shows every table and figure",
}
COMMANDS = {
    "plan": "say what a study costs, before it is run",
    "watch": "show how a study comes along, while it runs",
    "archive": "write one file of a finished study, to be kept and published",
    "compare": "compare the claims of two runs of a study, such as on two machines",
    "schema": "print the JSON schema of a study's config, for editors",
}


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sdd", description=__doc__.splitlines()[0])
    stages = parser.add_subparsers(required=True, metavar="STAGE")
    for name, meaning in (STAGES | COMMANDS).items():
        command = stages.add_parser(name, help=meaning)
        if name not in words[:1]:
            continue
        stage = import_module(f"sdd.stages.{name}")
        command.set_defaults(run=stage.run, log=None)
        command.description = stage.__doc__
        if name in STAGES:
            command.add_argument("--spec", type=json.loads, required=True, help="canonical JSON")
            command.add_argument("--output", type=Path, required=True)
            command.add_argument("--log", type=Path, required=True)
        stage.arguments(command)
    return parser.parse_args(words)


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # UTF-8, whatever the locale
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    args = parse(sys.argv[1:])
    # SIGTERM too, so that a training saves its state and temporary files are removed.
    signal.signal(signal.SIGTERM, _interrupt_once)
    signal.signal(signal.SIGINT, _interrupt_once)
    log = None
    try:
        if args.log:
            start_log(args.log)
            log = args.log
        args.run(args)
    except KeyboardInterrupt:
        sys.exit("interrupted: run again, it goes on from what is finished or saved")
    except Exception as error:
        explained = _explained(error)
        if log:
            _write_down(error, explained, log)
        if explained is None:
            raise
        sys.exit(f"error: {explained}")


def _explained(error: Exception) -> SddError | None:
    """What a person can mend, if it is something of that kind, and no fault of the program."""
    if isinstance(error, SddError):
        return error
    if is_full(error):
        return DiskFull(f"the disk is full: {error}. Make room and run snakemake again.")
    if isinstance(error, OSError) and error.filename is not None:
        return FileUnusable(
            f"{error.filename2 or error.filename} cannot be used ({error.strerror}). See what lies "
            "there, whose it is and who may write to it; mend that, and run snakemake again."
        )
    return None


def _write_down(error: Exception, explained: SddError | None, log: Path) -> None:
    """Into the job's log, with where it happened unless it was raised to be read."""
    with suppress(OSError), log.open("a", encoding="utf-8", errors="backslashreplace") as file:
        if explained is not error:
            traceback.print_exception(error, file=file)
        if explained:
            print(f"error: {explained}", file=file)


def command() -> None:
    """As `main`, but ends without taking an interpreter with torch down, which takes 0.3 s."""
    main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _interrupt_once(*_: object) -> None:
    """Whoever ends a job must not disturb it while it saves its progress."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    command()
