"""What several tests share: the shipped configs, and a folder with the workflow in it."""

import copy
import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

# As in a job: one thread, whatever else runs on this machine. Read when torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).parent.parent
SMOKE = ("--configfile", "workflow/studies/smoke.yaml")


def chain_and_student(teacher: str) -> list[dict[str, Any]]:
    """Experiments of one chain on noisy digits, and of the student of its best or dense round."""
    digits = {
        "dataset": "mnist-5k",
        "noise": {"kind": "symmetric", "rate": 0.4},
        "model": "lenet-300-100",
    }
    taught = {"experiment": "vanilla", "round": teacher}
    return [{"name": "vanilla", **digits}, {"name": "distilled", **digits, "teacher": taught}]


@pytest.fixture(scope="session")
def embedded() -> dict[str, Any]:
    """The config of the embedded study."""
    return yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))


@pytest.fixture
def config(embedded) -> dict[str, Any]:
    """A copy of it at values that the tests know, whatever is shipped; to be changed by a test."""
    study = copy.deepcopy(embedded) | {"seeds": [1, 2], "rounds_per_job": 1}
    for experiment in study["experiments"]:
        experiment["noise"]["rate"] = 0.4
    study["recipes"]["lenet-300-100"]["weight_decay"] = 1e-4
    study["validation"]["fraction"] = 0.125
    return study


@pytest.fixture(scope="session")
def example(tmp_path_factory) -> Path:
    """A folder with the file that workflow/studies/own_data.yaml studies. To be read only."""
    folder = tmp_path_factory.mktemp("example")
    script = ROOT / "workflow" / "studies" / "own_data.py"
    subprocess.run([sys.executable, script, "digits.npz"], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """The prepared digits, and labels of seed 1 at 40 % noise beside them. To be read only."""
    from sdd.data import labelling, preparation
    from sdd.data.settings import DatasetSpec, LabelsSpec, Noise, Validation

    folder = tmp_path_factory.mktemp("data")
    preparation.prepare(DatasetSpec("mnist-5k"), None, folder / "dataset.json")
    spec = LabelsSpec(Noise("symmetric", 0.4), Validation(0.125, "clean"), seed=1)
    labelling.make(spec, folder / "dataset.json", folder / "labels.json")
    return folder


class Workflow:
    """A copy of the workflow in a folder of its own, and snakemake run on it."""

    def __init__(self, folder: Path, source: Path | None = None) -> None:
        """A copy of the project's own files, or of everything in another workflow's folder."""
        self.folder = folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        if source:
            shutil.copytree(source, folder)
            return
        folder.mkdir(exist_ok=True)
        for name in ("Snakefile", "config.yaml", "workflow", "sdd", "envs"):
            copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copied(ROOT / name, folder / name)

    def snakemake(
        self, *arguments: str, fails: bool = False, timeout: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """Runs snakemake on two cores; its outcome must be as expected."""
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
        )
        assert (done.returncode != 0) == fails, done.stdout
        return done

    def sdd(self, *arguments: str, fails: bool = False) -> str:
        """Runs a command of the library; what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "sdd", *arguments],
            cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert (done.returncode != 0) == fails, done.stdout
        return done.stdout

    def kill_during_training(self, *arguments: str) -> None:
        """Starts snakemake, waits until a round is done and others run, and kills everything."""
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 60
            while not list((self.folder / "results").rglob("metrics.json")):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            time.sleep(0.5)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def planned(self, *arguments: str) -> set[str]:
        """What a dry run would do: each job's message, such as "Figure figure3_l2"."""
        return self.jobs(self.snakemake("--dry-run", *arguments).stdout)

    def counted(self, *arguments: str) -> dict[str, int]:
        """How many jobs of each rule a dry run would do."""
        output = self.snakemake("--dry-run", *arguments).stdout
        table = output[output.index("Job stats:") :].split("total")[0]
        return {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}

    @staticmethod
    def jobs(output: str) -> set[str]:
        """The messages of the jobs in what snakemake printed."""
        return set(re.findall(r"^Job \d+: (.*)$", output, re.MULTILINE))


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Workflow:
    """The smoke study, run to its end. Whoever changes one of its files puts it back."""
    workflow = Workflow(tmp_path_factory.mktemp("smoke"))
    workflow.snakemake(*SMOKE)
    return workflow


@dataclass
class Job:
    """What Snakemake has recorded of a job, its paths relative to the workflow's folder."""

    stage: str
    inputs: list[str]
    logs: list[str]
    command: str
    outputs: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def recorded(finished) -> dict[str, Job]:
    """One job of every training rule, and one of every other stage: that with the most inputs."""
    # Else the finished choice of a teacher would not be among them.
    table = finished.snakemake(*SMOKE, "--forceall", "--detailed-summary").stdout
    rows = csv.DictReader(table[table.index("output_file\t") :].splitlines(), delimiter="\t")
    by_kind: dict[str, dict[str, Job]] = defaultdict(dict)
    for row in rows:
        command, rule = row["shellcmd"], row["rule"]
        if rule == "all":
            continue
        stage = command.split()[3]
        kind = rule if stage == "train_round" else stage
        inputs = [] if row["input-file(s)"] in ("", "-") else row["input-file(s)"].split(",")
        job = by_kind[kind].setdefault(
            command, Job(stage, inputs, row["log-file(s)"].split(","), command)
        )
        job.outputs.append(row["output_file"])
    return {
        kind: max(jobs.values(), key=lambda job: len(job.inputs)) for kind, jobs in by_kind.items()
    }


@pytest.fixture
def workflow(tmp_path) -> Workflow:
    return Workflow(tmp_path)
