"""A study that deploys, and what a change then runs again."""

import csv
import os
import re
import shutil
import subprocess
import zipfile

import pandas as pd
import pytest
import yaml
from conftest import Workflow

CHAIN = "mnist-5k/symmetric-0.4/lenet-300-100/ce-wd{}/seed{}"
ONE, STRONG = CHAIN.format("0.0001", 1), CHAIN.format("0.01", 1)
STUDY = {
    "study": "deployed",
    "seeds": [1],
    "experiments": [
        {
            "name": "vanilla",
            "dataset": "mnist-5k",
            "noise": {"kind": "symmetric", "rate": 0.4},
            "model": "lenet-300-100",
        }
    ],
    "recipes": {"lenet-300-100": {"epochs": 1, "milestones": [], "weight_decay": 1e-4}},
    "pruning": {"fraction": 0.9, "final_sparsity": 0.5, "rounds": 1},
    "deployment": {"rounds": ["dense", "best"], "seconds": 0.1},
}
REPORTS, FOLDER = "reports/deployed", "results/deployed/deployed"
SHOWN = f"{REPORTS}/tables/deployment.csv", f"{REPORTS}/figures/figure_deployment.png"
COLLECT = "Collecting the deployed models of deployed"
SHOWING = {"Table deployment", "Figure figure_deployment", COLLECT}


def write(workflow, study) -> None:
    (workflow.folder / "study.yaml").write_text(yaml.safe_dump(study))


@pytest.fixture(scope="module")
def deployed(tmp_path_factory) -> Workflow:
    """A study up to the table and the figure that show its deployed models."""
    workflow = Workflow(tmp_path_factory.mktemp("deployed"))
    write(workflow, STUDY)
    workflow.snakemake(*SHOWN, "--configfile", "study.yaml")
    return workflow


@pytest.fixture
def planned(deployed, tmp_path):
    """What a dry run would do with some keys of the study changed."""

    def jobs(**changes) -> set[str]:
        (tmp_path / "changed.yaml").write_text(yaml.safe_dump(STUDY | changes))
        return deployed.planned(*SHOWN, "--configfile", str(tmp_path / "changed.yaml"))

    return jobs


def deploying(*chains) -> set[str]:
    return {f"Deployed models of {chain}" for chain in chains}


def test_from_nothing_to_table_and_figure(deployed):
    frame = pd.read_csv(deployed.folder / REPORTS / "deployments.csv")
    assert len(frame) == 2 * 7 and set(frame.chain) == {ONE} and set(frame.which) == {
        "dense", "best",
    }  # fmt: skip
    table = pd.read_csv(deployed.folder / SHOWN[0])
    assert len(table) == 2 * 7 and "break_even_images" in table
    assert (deployed.folder / SHOWN[1]).stat().st_size > 1000
    assert deployed.planned(*SHOWN, "--configfile", "study.yaml") == set()


def test_models_name_no_path_of_this_machine(deployed):
    models = list((deployed.folder / FOLDER).rglob("*.onnx"))
    assert len(models) == 2 * 3
    for path in models:
        content = path.read_bytes()
        assert str(deployed.folder).encode() not in content and b"site-packages" not in content


def test_a_setting_of_deployment_deploys_anew_and_trains_nothing(planned):
    jobs = planned(deployment=STUDY["deployment"] | {"seconds": 0.2})
    assert jobs == SHOWING | deploying(ONE)


def test_the_rule_of_early_stopping_counts_where_a_round_depends_on_it(planned):
    """Here none does; tables show what the rule keeps."""
    assert planned(early_stopping={"patience": 2}) == {"Table deployment"}


def test_another_chain_deploys_nothing_of_the_first(planned):
    (vanilla,) = STUDY["experiments"]
    more = vanilla | {"name": "l2", "weight_decay": 1e-2}
    jobs = planned(experiments=[vanilla, more])
    assert {job for job in jobs if not job.startswith("Round")} == {
        "Collecting every round of deployed", *SHOWING, *deploying(STRONG),
    }  # fmt: skip
    assert {job for job in jobs if job.startswith("Round")} == {
        f"Round 0{number} of {STRONG}" for number in (0, 1)
    }


def test_a_chain_that_shares_its_dense_round_is_deployed_with_it(planned):
    (vanilla,) = STUDY["experiments"]
    jobs = planned(experiments=[vanilla, vanilla | {"name": "tuned", "retraining": "fine-tuning"}])
    (deployment,) = (job for job in jobs if job.startswith("Deployed"))
    assert deployment not in deploying(ONE)
    assert not any(job.startswith("Round 00") for job in jobs)


def test_a_missing_package_is_said_before_anything_runs(workflow, tmp_path, monkeypatch):
    site = tmp_path / "without" / "sitecustomize.py"
    site.parent.mkdir()
    site.write_text("import sys\nsys.modules['onnxruntime'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(site.parent))
    write(workflow, STUDY)
    said = workflow.snakemake("--configfile", "study.yaml", fails=True).stdout
    assert "onnxruntime is not installed. They are the extra deploy" in said
    assert "Traceback" not in said and not (workflow.folder / "results").exists()
    workflow.snakemake("--dry-run")  # and nobody else needs it


@pytest.mark.long
def test_code_of_deployment_deploys_anew_and_trains_nothing(deployed, planned):
    path = deployed.folder / "sdd/deployment/simplify.py"
    before = path.read_text()
    path.write_text(before + "\nUNUSED = 1\n")
    try:
        assert planned() == SHOWING | deploying(ONE)
    finally:
        path.write_text(before)


@pytest.mark.long
def test_a_job_needs_nothing_but_its_declared_inputs(deployed, tmp_path):
    said = deployed.snakemake(*SHOWN, "--configfile", "study.yaml", "--detailed-summary")
    table = said.stdout[said.stdout.index("output_file\t") :].splitlines()
    stages = set()
    for row in csv.DictReader(table, delimiter="\t"):
        stage = re.match(r"python -m sdd (deploy|collect_deployments) ", row["shellcmd"])
        if not stage or stage[1] in stages:
            continue
        stages.add(stage[1])
        folder = tmp_path / stage[1]
        for path in row["input-file(s)"].split(","):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(deployed.folder / path, folder / path)
        for path in re.findall(r"--(?:log|output) (\S+)", row["shellcmd"]):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", row["shellcmd"]], cwd=folder,
            env=os.environ | {"PYTHONPATH": str(deployed.folder)}, text=True, capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{row['shellcmd']}\n{done.stderr}"
    assert stages == {"deploy", "collect_deployments"}


@pytest.mark.long
def test_the_whole_study_its_report_and_its_archive(deployed, tmp_path):
    workflow = Workflow(tmp_path / "whole", source=deployed.folder)
    (vanilla,) = STUDY["experiments"]
    write(workflow, STUDY | {"experiments": [vanilla | {"weight_decay": [1e-4, 1e-2]}]})
    workflow.snakemake("--configfile", "study.yaml", timeout=600)
    reports = workflow.folder / REPORTS
    assert "paid back" in (reports / "tables/table1_l2.md").read_text()
    html = (reports / "report.html").read_text()
    assert "figure_deployment" in html and "training paid back" in html.lower()

    study = ("archive", "--configfile", "study.yaml")
    workflow.sdd(*study, "--output", str(tmp_path / "some.zip"))
    workflow.sdd(*study, "--output", str(tmp_path / "all.zip"), "--weights", "all")
    of_one = f"{FOLDER}/{ONE}/best"
    facts = {f"{of_one}/deployment.json", f"{REPORTS}/deployments.csv"}
    models = {f"{of_one}/model{kind}.onnx" for kind in ("", ".int8", ".sparse")}
    some, every = (set(zipfile.ZipFile(tmp_path / f"{n}.zip").namelist()) for n in ("some", "all"))
    assert facts <= some and not models & some and facts | models <= every
    table = reports / "deployments.csv"
    before = table.read_text()
    table.write_text(before.replace("dense", "best"))
    assert "deployments.csv" in workflow.sdd(*study, fails=True)
