"""What a round's job takes besides its training: a process that starts, reads, evaluates, stores.

Two jobs run side by side, as under `snakemake --cores 2`; Snakemake's own time is not in it.
"""

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import sdd
from sdd.base.files import canonical
from sdd.study import validation
from sdd.study.metrics import read_metrics
from sdd.study.settings import Pruning, Recipe
from sdd.study.specs import RoundSpec
from sdd.study.study import Study

ROOT = Path(sdd.__file__).parent.parent

TURNS = 3
# A job without its training, step by step: each does what those before it do, and more.
STEPS = {
    "python": "pass",
    "import torch": "import torch",
    "import the library": "import sdd.rounds.round, safetensors.numpy",
    "start and stop the energy meter": "import sdd.rounds.round, safetensors.numpy, torch\n"
    "from sdd.machine.energy import EnergyMeter\n"
    "with EnergyMeter('cpu'): pass",
}


@dataclass(frozen=True)
class Run:
    wall_s: float
    processor_s: float


def side_by_side(*commands: list[str]) -> list[Run]:
    """Starts all, and waits for each."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    processes = [
        subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        for command in commands
    ]
    runs = {}
    while len(runs) < len(processes):
        pid, status, used = os.wait4(-1, 0)
        assert status == 0
        runs[pid] = Run(time.perf_counter() - started, used.ru_utime + used.ru_stime)
    for process in processes:
        process.returncode = 0  # reaped here, not by subprocess
    return [runs[process.pid] for process in processes]


@pytest.fixture(scope="module")
def recipe(embedded) -> Recipe:
    """The embedded study's, with one epoch."""
    study = Study.of(validation.validate(embedded))
    return replace(study.config.recipes["lenet-300-100"], epochs=1)


def job(data: Path, folder: Path, number: int, recipe: Recipe) -> list[str]:
    spec = RoundSpec(folder.name, number, "lenet-300-100", recipe, seed=1)
    parent = []
    if number:
        spec = replace(spec, pruning=Pruning(0.2), retraining="learning-rate-rewinding")
        parent = [str(folder / f"round{number - 1:02d}" / "metrics.json")]
    output = folder / f"round{number:02d}" / "metrics.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    return [
        sys.executable, "-m", "sdd", "train_round", "--spec", canonical(spec.to_dict()),
        "--dataset", str(data / "dataset.json"), "--labels", str(data / "labels.json"),
        "--parent", *parent, "--teacher", "--teacher_logits", "--output", str(output),
        "--log", str(output.with_name("log")), "--state", str(folder / "state"),
        "--ahead", "1", "--device", "cpu",
    ]  # fmt: skip


def test_a_job_takes_under_two_and_a_half_seconds_besides_its_training(
    data, recipe, tmp_path, show
):
    rows = []

    def row(what: str, runs: list[Run], training: float, target: str) -> None:
        wall = statistics.median(run.wall_s for run in runs) - training
        processor = statistics.median(run.processor_s for run in runs)
        rows.append(
            {
                "what": what,
                "wall [s]": f"{wall:.2f}",
                "processor [s]": f"{processor:.2f}",
                "target (wall)": target,
            }
        )

    for step, code in STEPS.items():
        command = [sys.executable, "-c", code]
        row(step, [run for _ in range(TURNS) for run in side_by_side(command, command)], 0, "")
    besides = {}
    for number in (0, 1):
        runs, seconds = [], []
        for turn in range(TURNS):
            folders = [tmp_path / f"{side}{turn}" for side in "ab"]
            runs += side_by_side(*(job(data, folder, number, recipe) for folder in folders))
            outputs = [folder / f"round{number:02d}" / "metrics.json" for folder in folders]
            seconds += [read_metrics(output).seconds for output in outputs]
        training = statistics.median(seconds)
        row(f"round {number} (wall: without its one epoch)", runs, training, "<= 2.5")
        besides[number] = statistics.median(run.wall_s for run in runs) - training
    show(f"Two processes side by side, {TURNS} times", rows)
    assert max(besides.values()) <= 2.5


def test_a_round_imports_no_compiler(data, recipe, tmp_path):
    """torch's compiler takes a second to import, in every process that touches it."""
    command = job(data, tmp_path / "chain", 0, recipe)
    command[1:1] = ["-X", "importtime"]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0 and "import torch" not in done.stdout
    assert "torch._dynamo\n" not in done.stderr
