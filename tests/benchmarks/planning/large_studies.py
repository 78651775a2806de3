"""Times Snakemake's planning of large studies, before anything has run and when all is done.

    python tests/benchmarks/planning/large_studies.py [chains ...]

Chains of LeNet-300-100 on the digits, 30 trainings each, two fifths of them distilled; 300 chains
are 9,000 trainings. Only the planning is real: every `python -m sdd` of the run in between writes
small files and ends, so that Snakemake's records are those of a finished study. Snakemake plans on
one core: on a machine that does other work too, CPU seconds tell more than seconds.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent.parent.parent
sys.path.insert(0, str(ROOT))

from sdd.analysis.selection import TeacherChoice  # noqa: E402
from sdd.base import layout  # noqa: E402
from sdd.base.files import write_json  # noqa: E402

CHAINS = (30, 100, 300)
CHAINS_A_SEED = 10

# Stands in for the jobs' python, and for the snakemake that makes the report: it knows what each
# stage writes. The library itself stays as it is, since its code is part of every job's params.
PRETENDER = """#!/usr/bin/env bash
set -eu
arguments="$*"
stage=$3
while [ $# -gt 0 ]; do
    case $1 in
        --report) stage=report output=$2 ;;
        --output) output=$2 ;;
        --log) echo pretended > "$2" ;;
    esac
    shift
done
case $stage in
    prepare_dataset) files="dataset.json data.safetensors" ;;
    noisy_labels) files="labels.json labels.safetensors" ;;
    train_round) files="model.safetensors metrics.json" ;;
    table) name=$(basename "$output" .csv); files="$name.csv $name.md $name.tex" ;;
    figure) name=$(basename "$output" .png); files="$name.png $name.pdf" ;;
    select_teacher) cp "$(dirname "$0")/teacher.json" "$output"; exit ;;
    teacher_logits) files="logits.json logits.safetensors cost.json" ;;
    collect_rounds | report) files=$(basename "$output") ;;
    *) echo "unknown stage: $stage" >&2; exit 1 ;;
esac
for file in $files; do echo "$arguments" > "${output%/*}/$file"; done
"""


@dataclass(frozen=True)
class Cost:
    """What a run of Snakemake took, its jobs' own time included."""

    seconds: float
    cpu_seconds: float
    megabytes: float  # the peak of its memory

    def __str__(self) -> str:
        return f"{self.seconds:6.1f} {self.cpu_seconds:7.1f} {self.megabytes:5.0f}"


def study(chains: int) -> dict:
    """The config of a study with so many chains, a multiple of CHAINS_A_SEED."""
    digits = {
        "dataset": "mnist-5k",
        "noise": {"kind": "symmetric", "rate": [0.2, 0.5]},
        "model": "lenet-300-100",
    }
    teacher = {"experiment": "plain", "round": ["best", "dense"], "weight_decay": 1e-4}
    return {
        "study": f"planning{chains}",
        "seeds": list(range(1, chains // CHAINS_A_SEED + 1)),
        "experiments": [
            {"name": "plain", **digits, "weight_decay": [1e-4, 1e-3, 1e-2]},
            {"name": "distilled", **digits, "teacher": teacher},
        ],
        "pruning": {"rounds": 29},
    }


def snakemake(folder: Path, *arguments: str) -> tuple[Cost, str]:
    """Runs it on two cores. Returns what that took, and what it printed."""
    environment = os.environ | {"PATH": f"{folder / 'pretended'}:{os.environ['PATH']}"}
    with (folder / "printed.txt").open("w+") as printed:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "study.yaml",
             *arguments],
            cwd=folder, env=environment, stdout=printed, stderr=subprocess.STDOUT,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        printed.seek(0)
        text = printed.read()
    if status != 0:
        sys.exit(text[-2000:])
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000), text


def pace(folder: Path) -> list[int]:
    """Milliseconds from one finished round to the next, for each tenth of them."""
    times = sorted(1e3 * p.stat().st_mtime for p in (folder / "results").rglob(layout.METRICS))
    ends = [times[i * (len(times) - 1) // 10] for i in range(11)]
    return [round((b - a) / (len(times) / 10)) for a, b in pairwise(ends)]


def copy_workflow(folder: Path) -> None:
    for name in ("Snakefile", "config.yaml", "workflow", "sdd", "envs"):
        copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copied(ROOT / name, folder / name)
    (folder / "pretended").mkdir()
    for name in ("python", "snakemake"):
        (folder / "pretended" / name).write_text(PRETENDER)
        (folder / "pretended" / name).chmod(0o755)
    choice = TeacherChoice("pretended", 7, 79.0, 70.0, "pretended", "pretended", ())
    write_json(folder / "pretended" / layout.CHOICE, choice.to_dict())


def main() -> None:
    print("chains    jobs  what       s   CPU s    MB   ms a job, by tenths of the run")
    for chains in map(int, sys.argv[1:] or CHAINS):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            copy_workflow(folder)
            (folder / "study.yaml").write_text(yaml.safe_dump(study(chains)))
            cost, plan = snakemake(folder, "--dry-run")
            total = next(line for line in plan.splitlines() if line.startswith("total"))
            start = f"{chains:6} {int(total.split()[1]):7,}"
            print(start, f"plan   {cost}", flush=True)
            cost, _ = snakemake(folder, "--scheduler", "greedy", "--quiet")
            print(start, f"run    {cost}  ", *pace(folder), flush=True)
            cost, plan = snakemake(folder, "--dry-run")
            if "Nothing to be done" not in plan:
                sys.exit(plan[-2000:])
            print(start, f"done   {cost}", flush=True)


if __name__ == "__main__":
    main()
