"""Snakefile, config and working directory need not be one folder, and folders have any names."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
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


def run(
    folder: Path, *arguments: str, fails: bool = False, environment: Mapping[str, str] = os.environ
) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
        cwd=folder, env=environment, encoding="utf-8", errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stdout
    return done.stdout


def locale(name: str, folder: Path) -> dict[str, str]:
    """The environment with that locale, which neither Python nor the shell turns into UTF-8."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in ("LANG", "LANGUAGE") and not key.startswith("LC_")
    }
    if name == "latin1":
        made = subprocess.run(
            ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(folder / name)],
            capture_output=True,
        )
        if made.returncode:
            pytest.skip("this machine has no sources of locales")
    return kept | {
        "LC_ALL": name, "LOCPATH": str(folder), "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0",
    }  # fmt: skip


@pytest.fixture
def apart(finished, tmp_path) -> tuple[Workflow, Path]:
    """The workflow in a folder with an odd name, and the finished study, less its report, in
    another."""
    place, work = tmp_path / ODD, tmp_path / "work {dir} 'q ключ é"
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


@pytest.mark.parametrize("name", ["C", "latin1"])
def test_in_another_locale(apart, tmp_path, name):
    workflow, work = apart
    environment = locale(name, tmp_path)
    (work / "reports/smoke/tables/claims.csv").unlink()
    overlay = str(workflow.folder / SMOKE[1])
    arguments = ("--snakefile", str(workflow.folder / "Snakefile"), "--configfile", overlay)
    said = run(work, *arguments, environment=environment)
    assert Workflow.jobs(said) == {"Table claims", "Page of smoke", "HTML report of smoke"}
    assert "Logging error" not in said and "Traceback" not in said
    assert "λ" in (work / "reports/smoke/tables/claims.md").read_text("utf-8")
    log = max((work / ".snakemake/log").iterdir(), key=lambda path: path.stat().st_mtime)
    said = log.read_text("utf-8")
    assert str(work) in said or name == "latin1"  # there each of its bytes is a letter


def test_another_workflow_imports_it(tmp_path):
    place, work = tmp_path / ODD, tmp_path / "work {dir} 'q ключ é"
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


def test_sources_that_come_without_the_library_are_refused(workflow, tmp_path):
    pytest.importorskip("git")
    git = ("git", "-C", str(workflow.folder), "-c", "user.name=a", "-c", "user.email=a@b")
    for arguments in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "a")):
        subprocess.run([*git, *arguments], check=True)
    work = tmp_path / "work"
    work.mkdir()
    source = f'gitfile({str(workflow.folder)!r}, path="Snakefile", ref="main")'
    (work / "Snakefile").write_text(MODULE.replace('r"""{}"""', "{}").format(source), "utf-8")
    said = run(work, "--dry-run", fails=True)
    assert "has no folder sdd" in said and "clone the repository" in said
    assert "Traceback" not in said


def test_a_base_config_that_is_not_there_is_said_to_be_missing(workflow):
    (workflow.folder / "config.yaml").unlink()
    said = workflow.snakemake("--dry-run", *SMOKE, fails=True).stdout
    assert "There is no base config at" in said and "config.yaml" in said
    assert "Traceback" not in said
