"""The workflow on a real Slurm of one node: what jobs ask for, what interruptions leave.

Skipped where Slurm is not installed, unless NEEDS_SLURM is set.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Workflow, chain_and_student

from sdd.study.reading import merge

CHAINS = Path("results/smoke/chains/mnist-5k/symmetric-0.4/lenet-300-100")
PLAIN, STUDENT = "ce-wd0.0001", "kd-lenet-300-100-dense-wd0.0001"
PROFILE = ("--profile", "workflow/profiles/slurm")
CONFIG = ("--configfile", "workflow/studies/smoke.yaml", "test.yaml")
# Jobs take seconds here.
HERE = ("--slurm-init-seconds-before-status-checks", "6")

# The smoke study, short, but with rounds long enough to be interrupted.
STUDY = {
    "experiments": chain_and_student("dense"),
    "recipes": {"lenet-300-100": {"epochs": 40, "milestones": [30]}},
    "pruning": {"rounds": 1},
}


def metrics(objective: str, round: int) -> Path:
    return CHAINS / objective / "seed1" / f"round{round:02d}" / "metrics.json"


def log(objective: str, round: int) -> Path:
    return Path("results/smoke/logs") / metrics(objective, round).parent.relative_to(
        "results/smoke"
    ).with_suffix(".log")


def eventually(found: Callable[[], Any], seconds: float = 120) -> Any:
    """What `found` returns, once it is true."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


@dataclass(frozen=True)
class Job:
    """A job as Slurm knows it; `comment` says which rule and wildcards it is for."""

    id: str
    state: str
    time_limit: str
    memory: str
    gpus: str
    restarts: int
    comment: str


class Slurm:
    """A running Slurm and its commands."""

    def __init__(self, folder: Path) -> None:
        paths = {"SLURM_CONF": str(folder / "slurm.conf")}
        paths["PATH"] = os.pathsep.join(
            [str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        )
        self.environment = os.environ | paths

    def __call__(self, command: str) -> str:
        return subprocess.check_output(shlex.split(command), env=self.environment, text=True)

    def jobs(self) -> list[Job]:
        """All of them, finished ones too, in the order of their submission."""
        columns = (
            "JobID:20,State:20,TimeLimit:20,MinMemory:20,tres-per-job:20,Restartcnt:9,Comment:200"
        )
        listed = self(f"squeue --states=all --sort=i --noheader -O {columns}")
        rows = (line.split() for line in listed.splitlines())
        return [Job(*row[:5], int(row[5]), row[6]) for row in rows]

    def job(self, comment: str) -> Job:
        """The last job with this in its comment."""
        return [job for job in self.jobs() if comment in job.comment][-1]

    @contextmanager
    def snakemake(self, workflow: Workflow, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Snakemake with the profile; interrupted, with its jobs, if it has not ended by itself."""
        with (workflow.folder / "slurm.out").open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", *PROFILE, *CONFIG, *HERE, *arguments],
                cwd=workflow.folder, env=self.environment, stdout=out, stderr=subprocess.STDOUT,
                # Whoever runs these tests in the background may have had SIGINT ignored.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip
            try:
                yield process
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(60)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory) -> Iterator[Slurm]:
    path = os.environ["PATH"] + os.pathsep + "/usr/sbin"
    missing = [
        name for name in ("slurmctld", "slurmd", "munged") if not shutil.which(name, path=path)
    ]
    if not find_spec("snakemake_executor_plugin_slurm"):
        missing.append("snakemake-executor-plugin-slurm")
    if missing:
        complain = pytest.fail if os.environ.get("NEEDS_SLURM") else pytest.skip
        complain(
            f"{', '.join(missing)} not found. Install Slurm (Debian: slurm-wlm and munge) and "
            "envs/requirements.txt."
        )
    folder = tmp_path_factory.mktemp("slurm")
    with (folder / "start.log").open("w") as out:
        process = subprocess.Popen(
            [ROOT / "tests/slurm/start.sh", folder], stdout=out, stderr=subprocess.STDOUT
        )
    try:
        eventually(lambda: (folder / "activate").exists() or process.poll() is not None, 30)
        assert process.poll() is None, (folder / "start.log").read_text()
        yield Slurm(folder)
    finally:
        process.terminate()
        process.wait(60)


def prepared(folder: Path) -> Workflow:
    folder.mkdir()
    workflow = Workflow(folder)
    (folder / "test.yaml").write_text(yaml.safe_dump(STUDY))
    return workflow


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Workflow:
    """The study's trainings, run without Slurm."""
    workflow = prepared(tmp_path_factory.mktemp("local") / "study")
    last = [str(metrics(objective, 1)) for objective in (PLAIN, STUDENT)]
    workflow.snakemake(*last, *CONFIG)
    return workflow


def test_cancelled_and_requeued_jobs_end_with_the_same_bits(slurm, local, tmp_path):
    workflow = prepared(tmp_path / "study")
    folder = workflow.folder

    def interrupt(command: str, objective: str, round: int, rule: str) -> Job:
        """Does that to the job, once it trains this round."""
        written = folder / log(objective, round)

        def trains() -> bool:
            assert process.poll() is None, (folder / "slurm.out").read_text()
            return written.exists() and "epoch 3/40" in written.read_text()

        eventually(trains)
        job = slurm.job(rule)
        slurm(f"{command} {job.id}")
        assert job.state == "RUNNING" and not (folder / metrics(objective, round)).exists()
        return job

    with slurm.snakemake(workflow) as process:
        cancelled = interrupt("scancel", PLAIN, 0, "rule_train_dense")
        eventually((folder / metrics(PLAIN, 0)).exists)
        kept = (folder / metrics(PLAIN, 0)).read_bytes()
        requeued = interrupt("scontrol requeue", PLAIN, 1, "rule_prune_retrain")
        code = process.wait(500)
    assert code == 0, (folder / "slurm.out").read_text()

    for objective in (PLAIN, STUDENT):
        for round in (0, 1):
            ours, theirs = (
                json.loads((w.folder / metrics(objective, round)).read_text())
                for w in (workflow, local)
            )
            assert ours["weights_sha256"] == theirs["weights_sha256"]
    assert (folder / metrics(PLAIN, 0)).read_bytes() == kept
    for round in (0, 1):  # Both had the time to save their state, and went on from it.
        assert json.loads((folder / metrics(PLAIN, round)).read_text())["runs"] == 2
        assert "goes on after epoch" in (folder / log(PLAIN, round)).read_text()
    assert (folder / "reports/smoke/report.html").exists()

    jobs = slurm.jobs()
    trained = {job.id: job for job in jobs if re.search("rule_(train|prune|distill)", job.comment)}
    retried = slurm.job("rule_train_dense")
    assert (trained[cancelled.id].state, trained[cancelled.id].time_limit) == ("CANCELLED", "10:00")
    assert (retried.state, retried.time_limit) == ("COMPLETED", "20:00")
    assert (trained[requeued.id].state, trained[requeued.id].restarts) == ("COMPLETED", 1)
    assert len(trained) == 5
    assert {job.gpus for job in jobs} == {"N/A"}
    # Teacher logits ask for their own size more.
    tables = {job.id for job in jobs if "rule_teacher_logits" in job.comment}
    assert {(job.memory, job.id in tables) for job in jobs} == {("2000M", False), ("2001M", True)}
    # What downloads, chooses or only writes a file stays where snakemake runs.
    for rule in ("prepare_dataset", "select_teacher", "study_config", "html_report"):
        assert not any(rule in job.comment for job in jobs)


def test_a_job_of_several_rounds_asks_for_a_gpu_and_as_many_times_the_minutes(
    slurm, local, tmp_path
):
    workflow = Workflow(tmp_path / "study", source=local.folder)
    change = {
        "device": "cuda", "rounds_per_job": 3, "pruning": {"rounds": 2},
        "cluster": {"lenet-300-100": {"minutes": 7}},
    }  # fmt: skip
    (workflow.folder / "test.yaml").write_text(yaml.safe_dump(merge(STUDY, change)))
    target = metrics(PLAIN, 1)
    (workflow.folder / target).unlink()
    before = len(slurm.jobs())
    slurm("scontrol update PartitionName=test State=DOWN")
    partition = ("--default-resources", "slurm_partition=test")
    with slurm.snakemake(workflow, str(target), *partition):
        (job,) = eventually(lambda: slurm.jobs()[before:])
    assert job.state == "PENDING"
    assert (job.time_limit, job.memory, job.gpus) == ("14:00", "2000M", "gres:gpu:1")
    assert slurm.jobs()[-1].state == "CANCELLED"
    slurm("scontrol update PartitionName=test State=UP")
