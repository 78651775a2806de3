"""A study's results do not depend on where it runs, and a job needs its declared inputs only.

Byte for byte, but for what a clock or a power meter says; that is named in `same`.
"""

import json
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
from conftest import SMOKE, Job, Workflow

from sdd.__main__ import STAGES
from sdd.base import layout

# The checksum is of the file itself, seconds and energy included.
MEASURED = re.compile(r".*(seconds|energy|co2_g|checksum).*")
# Tables with such columns, or claims on CO2: compared by their .csv, without those.
MEASURED_TABLES = ("table1_l2", "table2_distillation", "claims", "comparisons")
# A page with dates and run times, made by Snakemake from everything that stands here anyway.
DATED = "report.html"


def same(path: Path, other: Path) -> bool:
    """Whether two files hold the same results."""
    if path.suffix == ".json":
        return lasting(json.loads(path.read_text())) == lasting(json.loads(other.read_text()))
    if path.name == layout.PAGE:
        return lasting_page(path) == lasting_page(other)
    if path.name == layout.OPENING:
        return lasting_claims(path) == lasting_claims(other)
    if path.name == "rounds.csv" or path.stem in MEASURED_TABLES:
        return path.suffix != ".csv" or lasting_rows(path).equals(lasting_rows(other))
    return path.read_bytes() == other.read_bytes()


def lasting(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if not MEASURED.fullmatch(key)}


def lasting_rows(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, dtype=str)
    if path.stem in ("claims", "comparisons"):  # a sentence a row
        frame = frame[~frame.iloc[:, 0].str.contains("CO2")]
    return frame[[name for name in frame if not MEASURED.fullmatch(name)]]


def lasting_page(path: Path) -> dict[str, Any]:
    """What the page holds, without the measured columns and tables."""
    text = path.read_text("utf-8")
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    held = json.loads(block[1])
    for name in [name for name in held["columns"] if MEASURED.fullmatch(name)]:
        del held["columns"][name]
    held["tables"] = [table for table in held["tables"] if table["name"] not in MEASURED_TABLES]
    held["origin"] = lasting(held["origin"])
    return held | {"around": text.replace(block[1], "")}


def lasting_claims(path: Path) -> list[str]:
    return [line for line in path.read_text("utf-8").splitlines() if "CO2" not in line]


def files(workflow: Workflow) -> set[Path]:
    """Everything that a run has left, logs aside."""
    found = [
        path.relative_to(workflow.folder)
        for folder in ("resources", "results", "reports")
        for path in (workflow.folder / folder).rglob("*")
        if path.is_file() and path.suffix != ".log"
    ]
    return {path for path in found if path.name != DATED}


def test_another_folder_gives_the_same_files(finished, tmp_path):
    deeper = tmp_path / "some" / "where" / "else"
    deeper.mkdir(parents=True)
    elsewhere = Workflow(deeper)
    elsewhere.snakemake(*SMOKE)
    assert files(elsewhere) == files(finished)
    differing = [
        str(path)
        for path in sorted(files(finished))
        if not same(elsewhere.folder / path, finished.folder / path)
    ]
    assert not differing


def test_a_moved_study_is_still_up_to_date(finished, tmp_path):
    moved = Workflow(tmp_path / "some" / "where" / "else", source=finished.folder)
    assert moved.planned(*SMOKE) == set()


def test_a_job_needs_nothing_but_its_declared_inputs(finished, recorded, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(finished.folder)}
    # The page is made from Snakemake's own records of all jobs.
    jobs = [job for job in recorded.values() if job.stage != "html_report"]

    def differing(job: Job) -> list[str]:
        """Runs it in a folder with its inputs alone; says what comes out differently."""
        folder = tmp_path / str(jobs.index(job))
        for path in (*job.inputs, *job.outputs, *job.logs):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
        for path in job.inputs:
            shutil.copy(finished.folder / path, folder / path)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", job.command],
            cwd=folder, env=environment, text=True, capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{job.command}\n{done.stderr}"
        return [path for path in job.outputs if not same(folder / path, finished.folder / path)]

    with ThreadPoolExecutor(2) as two:
        assert [path for paths in two.map(differing, jobs) for path in paths] == []
    stages = [job.stage for job in recorded.values()]
    assert stages.count("train_round") == 4
    # A teacher from outside is adopted from a file that is no declared input: where it lies does
    # not matter. tests/workflow/test_a_study_with_a_teacher_from_outside.py moves one. Nothing can
    # be wrong with this study's model, so it is not checked. Those that deploy are in
    # tests/workflow/test_deployment.py.
    others = {"adopt_teacher", "check_model", "deploy", "collect_deployments"}
    assert set(stages) == set(STAGES) - others
