"""Snakefile, config and working directory need not be one folder, and folders have any names."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SMOKE, Workflow

ODD = 'it\'s a "{wf}" $(touch RAN) `touch RAN` ключ'
MODULE = '''
module sdd:
    snakefile: r"""{}"""
    prefix: "inner"
use rule * from sdd as sdd_*
rule mine:
    default_target: True
    input: rules.sdd_all.input
    output: "mine.txt"
    shell: "touch {{output}}"
'''


def run(folder: Path, *arguments: str, fails: bool = False) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stdout
    return done.stdout


@pytest.fixture
def apart(finished, tmp_path) -> tuple[Workflow, Path]:
    """The workflow in a folder with an odd name, and the finished study, less its report, in
    another."""
    place, work = tmp_path / ODD, tmp_path / "work {dir} 'q"
    place.mkdir()
    work.mkdir()
    for name in ("resources", "results", "reports", ".snakemake"):
        shutil.copytree(finished.folder / name, work / name)
    (work / "reports/smoke/report.html").unlink()
    return Workflow(place), work


@pytest.mark.parametrize("how", ["--snakefile", "--directory"])
def test_it_runs_from_elsewhere_and_nothing_but_the_report_is_made(apart, how):
    workflow, work = apart
    arguments = ("--configfile", str(workflow.folder / SMOKE[1]))
    if how == "--snakefile":
        said = run(work, how, str(workflow.folder / "Snakefile"), *arguments)
    else:
        said = run(workflow.folder, how, str(work), *arguments)
    assert Workflow.jobs(said) == {"HTML report of smoke"}
    assert "figure1_phenomenon" in (work / "reports/smoke/report.html").read_text("utf-8")
    assert not list(work.parent.rglob("RAN"))


def test_another_workflow_imports_it(tmp_path):
    place, work = tmp_path / ODD, tmp_path / "work {dir} 'q"
    place.mkdir()
    work.mkdir()
    workflow = Workflow(place)
    (work / "Snakefile").write_text(MODULE.format(place / "Snakefile"), "utf-8")
    run(work, "--configfile", str(workflow.folder / SMOKE[1]))
    assert (work / "mine.txt").exists()
    assert (work / "inner/reports/smoke/report.html").exists()
    assert {path.name for path in work.iterdir()} == {
        ".snakemake",
        "Snakefile",
        "inner",
        "mine.txt",
    }
    assert not list(tmp_path.rglob("RAN"))
    assert "Nothing to be done" in run(work, "--configfile", str(workflow.folder / SMOKE[1]))


def test_a_base_config_that_is_not_there_is_said_to_be_missing(workflow):
    (workflow.folder / "config.yaml").unlink()
    said = workflow.snakemake("--dry-run", *SMOKE, fails=True).stdout
    assert "There is no base config at" in said and "config.yaml" in said
    assert "Traceback" not in said
