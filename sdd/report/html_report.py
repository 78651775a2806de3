"""The report that shows every table and figure: these are checked, another program makes it."""

import hashlib
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from sdd.analysis.facts import RoundsFacts
from sdd.base.errors import DataError, ReportError
from sdd.base.files import opened, read_record, replacing
from sdd.report import seals
from sdd.report.specs import HtmlReportSpec

SHOWN = 600  # letters of what a program that failed has said last


def check(spec: HtmlReportSpec, config: Path, rounds: Path, shown: Iterable[Path]) -> None:
    """Raises DataError, naming the file, unless everything is as it was made, and from the same
    rounds. `rounds` are the facts on rounds.csv."""
    with opened(config) as file:
        content = file.read().removesuffix(b"\n")
        if hashlib.sha256(content).hexdigest() != spec.config_checksum:
            raise DataError(f"{config} is not this study's config, or was altered. {seals.ALTERED}")
    made_from = read_record(rounds, RoundsFacts)
    for path in shown:
        seals.check(path, made_from)


def make(program: Sequence[str], output: Path, log: Path) -> None:
    """Has `program` write the report; where to is its last argument, added here.

    Raises DiskFull where the program says that this is why it failed, else ReportError.
    """
    with replacing(output) as temporary:
        done = subprocess.run(
            [*program, str(temporary)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
        )  # fmt: skip
        log.write_text(done.stdout, "utf-8")
        if done.returncode or not temporary.stat().st_size:
            raise ReportError(
                f"{output} could not be made ({program[0]} ended with {done.returncode}). What was "
                f"said last, all of which is in {log}: {' '.join(done.stdout.split())[-SHOWN:]}"
            ) from RuntimeError(done.stdout)  # which may say that the disk is full
