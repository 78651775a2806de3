"""What a round's job takes besides its training: a process that starts, reads, evaluates, stores.

Two jobs run side by side, as under `snakemake --cores 2`; Snakemake's own time is not in it.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import sdd
from sdd.files import read_json

ROOT = Path(sdd.__file__).parent.parent

TURNS = 3
# A job without its training, step by step: each does what those before it do, and more.
STEPS = {
    "python": "pass",
    "import torch": "import torch",
    "import the library": "import sdd.rounds, safetensors.numpy",
    "start and stop the energy meter": "import sdd.rounds, safetensors.numpy, torch\n"
    "from sdd.energy import EnergyMeter\n"
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


def job(data: Path, folder: Path, number: int, recipe: dict) -> list[str]:
    spec = {"chain": folder.name, "round": number, "model": "lenet-300-100",
            "recipe": recipe | {"epochs": 1}, "seed": 1}  # fmt: skip
    parent = []
    if number:
        spec["pruning"] = {"fraction": 0.2, "scope": "global"}
        parent = [str(folder / f"round{number - 1:02d}" / "metrics.json")]
    output = folder / f"round{number:02d}" / "metrics.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    return [
        sys.executable, "-m", "sdd", "train_round", "--spec", json.dumps(spec),
        "--dataset", str(data / "dataset.json"), "--labels", str(data / "labels.json"),
        "--parent", *parent, "--teacher", "--output", str(output),
        "--log", str(output.with_name("log")), "--state", str(folder / "state"),
        "--ahead", "1", "--device", "cpu",
    ]  # fmt: skip


def test_a_job_takes_under_two_and_a_half_seconds_besides_its_training(
    data, embedded, tmp_path, show
):
    recipe = embedded["recipes"]["lenet-300-100"]
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
            seconds += [read_json(output)["seconds"] for output in outputs]
        training = statistics.median(seconds)
        row(f"round {number} (wall: without its one epoch)", runs, training, "<= 2.5")
        besides[number] = statistics.median(run.wall_s for run in runs) - training
    show(f"Two processes side by side, {TURNS} times", rows)
    assert max(besides.values()) <= 2.5


def test_a_round_imports_no_compiler(data, embedded, tmp_path):
    """torch's compiler takes a second to import, in every process that touches it."""
    recipe = embedded["recipes"]["lenet-300-100"]
    command = job(data, tmp_path / "chain", 0, recipe)
    command[1:1] = ["-X", "importtime"]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0 and "import torch" not in done.stdout
    assert "torch._dynamo\n" not in done.stderr
