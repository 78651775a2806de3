"""What is left after kills, full disks, damaged files and a second run, and how it is mended.

pytest -m long tests/workflow/test_recovery.py      kills a study at 25 random moments
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, SMOKE, Workflow, chain_and_student

from sdd.base.files import canonical, read_json
from sdd.sparsity.checkpoint import read_checkpoint
from sdd.study.settings import Pruning, Recipe
from sdd.study.specs import RoundSpec

CHAINS = "results/smoke/chains/mnist-5k/symmetric-0.4/lenet-300-100"
# The smoke study with one chain, its student, and trainings that save their state all the time.
SHORT = {
    "experiments": chain_and_student("best"),
    "recipes": {"lenet-300-100": {"epochs": 30, "milestones": [20]}},
    "pruning": {"rounds": 2},
    "save_every": 0,
}
ARGUMENTS = (*SMOKE, "short.yaml")
RECIPE = Recipe("sgd", 0.05, 1e-4, 128, 2, "multistep", momentum=0.9, milestones=(1,))
PROFILE = ("--profile", "workflow/profiles/workstation")


def short(folder: Path) -> Workflow:
    workflow = Workflow(folder)
    (folder / "short.yaml").write_text(yaml.safe_dump(SHORT))
    return workflow


def results(workflow: Workflow) -> dict[str, dict]:
    """Every round's metrics but for what clocks and meters say, and the reported numbers."""
    spent = {"seconds", "energy", "runs"}
    found = {}
    for path in sorted((workflow.folder / "results").rglob("metrics.json")):
        metrics = read_json(path)
        read_checkpoint(path.with_name("model.safetensors"), metrics["weights_sha256"])
        name = str(path.relative_to(workflow.folder))
        found[name] = {key: value for key, value in metrics.items() if key not in spent}
    for path in sorted((workflow.folder / "reports/smoke/figures").glob("*.png")):
        found[path.name] = {"content": path.read_bytes()}
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[dict[str, dict], float]:
    """The results of the short study, and the seconds that it took."""
    workflow = short(tmp_path_factory.mktemp("undisturbed"))
    started = time.monotonic()
    workflow.snakemake(*ARGUMENTS)
    return results(workflow), time.monotonic() - started


def kill(workflow: Workflow, after_s: float, how: signal.Signals) -> bool:
    """Takes the study up as the README says, and kills all of it; False if it ended before."""
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", *PROFILE, *ARGUMENTS],
        cwd=workflow.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(after_s)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, how)
        process.wait(60)
        return True


@pytest.mark.parametrize("kills", [3, pytest.param(25, marks=pytest.mark.long)])
def test_killed_at_random_moments_it_ends_the_same(undisturbed, tmp_path, kills):
    expected, seconds = undisturbed
    seed = random.randrange(10**6)
    print(f"random moments of seed {seed}")
    chance = random.Random(seed)
    workflow = short(tmp_path)
    killed = taken_up = 0
    while killed < kills:
        how = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        if not kill(workflow, chance.uniform(1.5, 0.6 * seconds), how):
            # It came to its end between two kills: on with a new one.
            assert results(workflow) == expected
            shutil.rmtree(workflow.folder / "results")
            shutil.rmtree(workflow.folder / "reports")
            continue
        killed += 1
        taken_up += bool(list((workflow.folder / "results").rglob("*.sidecar")))
    workflow.snakemake(*PROFILE, *ARGUMENTS)
    assert results(workflow) == expected
    assert not list((workflow.folder / "results").rglob("*.sidecar"))
    assert "Nothing to be done" in workflow.snakemake(*ARGUMENTS).stdout
    print(f"{killed} kills, {taken_up} of them left a training's state")


def trainings(folder: Path) -> list[Path]:
    """The trainings that run in a folder, by what Linux knows of them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            trains = b"train_round" in (process / "cmdline").read_bytes()
            if trains and (process / "cwd").resolve() == folder:
                found.append(process)
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="watches by /proc")
def test_of_a_killed_snakemake_nothing_goes_on_and_nothing_old_replaces_what_is_new(
    undisturbed, tmp_path
):
    expected, _ = undisturbed
    workflow = short(tmp_path)
    (workflow.folder / "long.yaml").write_text("recipes: {lenet-300-100: {epochs: 4000}}\n")
    run = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "1", *PROFILE, *ARGUMENTS, "long.yaml"],
        cwd=workflow.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list((workflow.folder / "results").rglob("*.sidecar")):
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    run.kill()
    run.wait()
    while trainings(workflow.folder):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert list((workflow.folder / "results").rglob("*.sidecar"))
    workflow.snakemake(*PROFILE, *ARGUMENTS)
    assert not list((workflow.folder / "results/smoke/.state").iterdir())
    assert "Nothing to be done" in workflow.snakemake(*ARGUMENTS).stdout
    assert results(workflow) == expected


@pytest.mark.parametrize(
    ("profile", "said"),
    [((), "Directory cannot be locked"), (PROFILE, "Another run works in this folder")],
)
def test_a_second_run_in_the_folder_is_refused_and_disturbs_nothing(
    undisturbed, tmp_path, profile, said
):
    expected, _ = undisturbed
    workflow = short(tmp_path)
    first = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", *profile, *ARGUMENTS],
        cwd=workflow.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not list((workflow.folder / "results").rglob("metrics.json")):
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        assert said in workflow.snakemake(*profile, *ARGUMENTS, fails=True).stdout
        assert first.wait(240) == 0
    finally:
        first.kill()
    assert results(workflow) == expected


@pytest.mark.parametrize("damage", ["cut off", "altered"])
def test_a_damaged_file_is_named_and_its_message_mends_it(finished, tmp_path, damage):
    workflow = Workflow(tmp_path / "damaged", source=finished.folder)
    metrics = workflow.folder / CHAINS / "ce-wd0.01/seed1/round03/metrics.json"
    sha = read_json(metrics)["weights_sha256"]
    weights = metrics.with_name("model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content if damage == "altered" else content[:-100])
    (workflow.folder / "longer.yaml").write_text("pruning: {rounds: 4}\n")
    target = f"{CHAINS}/ce-wd0.01/seed1/round04/metrics.json"
    said = workflow.snakemake(target, *SMOKE, "longer.yaml", fails=True).stdout
    relative = metrics.relative_to(workflow.folder)
    assert f"{relative.parent}/model.safetensors is not the file that its metrics.json" in said
    assert f"Delete {relative} and run snakemake again" in said
    metrics.unlink()
    workflow.snakemake(target, *SMOKE, "longer.yaml")
    assert read_json(metrics)["weights_sha256"] == sha
    assert (workflow.folder / target).exists()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 3 MB: enough for one round of LeNet and its state, not for two."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_ends_the_job_and_leaves_earlier_rounds_whole(data, small_disk):
    def job(number: int) -> subprocess.CompletedProcess[str]:
        spec = RoundSpec("c", number, "lenet-300-100", RECIPE, seed=1)
        if number:
            spec = replace(spec, pruning=Pruning(0.2), retraining="learning-rate-rewinding")
        parent = [small_disk / "round00/metrics.json"] if number else []
        folder = small_disk / f"round{number:02d}"
        folder.mkdir(exist_ok=True)
        return subprocess.run(
            [
                sys.executable, "-m", "sdd", "train_round", "--spec", canonical(spec.to_dict()),
                "--dataset", data / "dataset.json", "--labels", data / "labels.json",
                "--parent", *parent, "--output", folder / "metrics.json", "--log", folder / "log",
                "--state", small_disk / "state", "--device", "cpu",
            ],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip

    assert job(0).returncode == 0
    filler = small_disk / "filler"
    free = shutil.disk_usage(small_disk).free
    filler.write_bytes(bytes(free - 500_000))
    failed = job(1)
    assert failed.returncode != 0 and "Traceback" not in failed.stderr
    assert "the disk is full. Free some space and run snakemake again" in failed.stderr
    assert not list((small_disk / "round01").glob("*.*"))
    before = read_json(small_disk / "round00/metrics.json")
    read_checkpoint(small_disk / "round00/model.safetensors", before["weights_sha256"])
    filler.unlink()
    assert job(1).returncode == 0
    assert read_json(small_disk / "round01/metrics.json")["round"] == 1


@pytest.mark.parametrize("room", [0, 300_000])
@pytest.mark.parametrize("kind", ["study_config", "html_report"])
def test_a_full_disk_at_the_report_has_its_message(finished, recorded, small_disk, kind, room):
    """The page is larger than what is left; with no room at all, so is what is noted on the way."""
    job = recorded[kind]
    output = Path(job.outputs[0])
    needed = ["config.yaml", "Snakefile", "workflow", "sdd", "envs", "results", "resources"]
    reports = (finished.folder / "reports/smoke").iterdir()
    needed += [path.relative_to(finished.folder) for path in reports if path.name != output.name]
    for name in (*needed, ".snakemake/metadata"):
        (small_disk / name).parent.mkdir(parents=True, exist_ok=True)
        (small_disk / name).symlink_to(finished.folder / name)
    log = small_disk / "log"
    command = job.command.replace(job.logs[0], "log")
    filler = small_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - room))
    environment = os.environ | {"PYTHONPATH": str(finished.folder)}

    def ran() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=small_disk, env=environment, text=True, capture_output=True,
        )  # fmt: skip

    failed = ran()
    if kind == "study_config" and room:
        assert failed.returncode == 0, failed.stderr
        return
    assert failed.returncode != 0 and "Traceback" not in failed.stderr
    assert "the disk is full" in failed.stderr, failed.stderr
    assert "run snakemake again" in failed.stderr
    assert not list((small_disk / output).parent.glob(f"*{output.name}*"))
    filler.unlink()
    assert kind == "html_report" or (ran().returncode == 0 and (small_disk / output).exists())
    assert log.exists()


def test_two_studies_that_share_their_data_sets_start_together(tmp_path):
    labels = "results/smoke/labels/mnist-5k/symmetric-0.4/seed1/labels.json"
    shared = tmp_path / "shared"
    shared.mkdir()
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        workflow = Workflow(tmp_path / name)
        (workflow.folder / "resources").symlink_to(shared)
        command = [sys.executable, "-m", "snakemake", "--cores", "1", labels, *SMOKE]
        runs.append(
            subprocess.Popen(
                command, cwd=workflow.folder, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )
        )  # fmt: skip
    said = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(said)
    assert {path.name for path in (shared / "datasets/mnist-5k").iterdir()} == {
        "dataset.json", "data.safetensors", "prepare.log",
    }  # fmt: skip
