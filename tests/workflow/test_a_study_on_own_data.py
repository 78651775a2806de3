"""Studies on data of the user's own, from the file to the report; and the example that ships."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, Workflow

from sdd.planning import progress
from sdd.study import data_entries, reading, validation
from sdd.study.study import Study

OWN = ("--configfile", "own.yaml")
RECIPE = {
    "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 1e-4,
    "batch_size": 16, "epochs": 1, "schedule": "constant",
}  # fmt: skip
EXPERIMENT = {"dataset": "my_data", "model": "lenet-300-100"}
STUDY = {
    "study": "own",
    "seeds": [1],
    "datasets": {"my_data": {"file": "my_data.npz", "train_images": 60}},
    "experiments": [
        {"name": "given", **EXPERIMENT, "noise": {"kind": "given"}},
        {"name": "more", **EXPERIMENT, "noise": {"kind": "symmetric", "rate": 0.2}},
        {
            "name": "taught", **EXPERIMENT, "noise": {"kind": "given"},
            "teacher": {"experiment": "given", "round": "best"},
        },
    ],
    "recipes": {"lenet-300-100": RECIPE | {"milestones": []}},
    "pruning": {"rounds": 2},
}  # fmt: skip


def arrays():
    """Striped images of three classes, channels last; nobody knows the true labels."""
    rng = np.random.default_rng(0)
    made = {}
    for part, count in (("train", 80), ("test", 30), ("validation", 20)):
        labels = np.arange(count) % 3
        images = rng.integers(0, 60, (count, 8, 8, 3), np.uint8)
        for row, label in enumerate(labels):
            images[row, label::3] += 150
        made |= {f"{part}_images": images, f"{part}_labels": labels.astype(np.uint8)}
    return made


def trainings(jobs):
    return {job for job in jobs if job.startswith(("Round", "Labels", "Preparing", "Logits"))}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workflow = Workflow(tmp_path_factory.mktemp("own"))
    np.savez(workflow.folder / "my_data.npz", **arrays())
    (workflow.folder / "own.yaml").write_text(yaml.safe_dump(STUDY))
    workflow.snakemake(*OWN)
    return workflow


def test_without_true_labels_it_runs_to_the_report_and_says_what_is_unknown(finished):
    reports = finished.folder / "reports" / "own"
    assert (reports / "report.html").exists()
    rounds = pd.read_csv(reports / "rounds.csv")
    assert len(rounds) == 9 and rounds.dataset.eq("my_data-60").all()
    assert rounds.noise_rate.isna().all() and rounds.train_clean_accuracy.isna().all()
    known = ["train_accuracy", "validation_accuracy", "test_accuracy"]
    assert rounds[known].notna().all(axis=None)
    table = (reports / "tables" / "descent.md").read_text("utf-8")
    assert "| labels as given, true rate unknown |" in table
    assert "| 20 % symmetric noise, true rate unknown |" in table
    (log,) = (finished.folder / "results/own/logs/chains").rglob("given/*/ce-*/seed1/round00.log")
    assert "(true labels unknown)" in log.read_text("utf-8")
    assert "Nothing to be done" in finished.snakemake(*OWN).stdout


def test_moving_the_file_trains_nothing_and_changing_it_trains_everything(finished, tmp_path):
    workflow = Workflow(tmp_path / "copy", source=finished.folder)
    file = workflow.folder / "my_data.npz"
    (workflow.folder / "data").mkdir()
    moved = file.rename(workflow.folder / "data" / "better.npz")
    entry = STUDY["datasets"]["my_data"] | {"file": "data/better.npz"}
    config = STUDY | {"datasets": {"my_data": entry}}
    (workflow.folder / "own.yaml").write_text(yaml.safe_dump(config))
    assert not trainings(workflow.planned(*OWN))
    moved.touch()
    np.savez_compressed(moved, **arrays())
    assert not trainings(workflow.planned(*OWN))

    changed = arrays()
    changed["train_images"][0, 0, 0, 0] ^= 1
    np.savez(moved, **changed)
    planned = workflow.planned(*OWN)
    assert "Preparing my_data" in planned
    assert {
        f"Labels of my_data-60/{noise}/seed1" for noise in ("given", "symmetric-0.2")
    } <= planned
    assert len([job for job in planned if job.startswith("Round 0")]) == 9


def test_another_study_may_call_other_data_the_same(finished, tmp_path):
    workflow = Workflow(tmp_path / "copy", source=finished.folder)
    np.savez(workflow.folder / "other.npz", **arrays() | {"class_names": np.array(["a", "b", "c"])})
    other = STUDY | {"study": "other", "datasets": {"my_data": {"file": "other.npz"}}}
    (workflow.folder / "other.yaml").write_text(yaml.safe_dump(other))
    facts = [f"results/{study}/datasets/my_data/dataset.json" for study in ("own", "other")]
    workflow.snakemake(facts[1], "--configfile", "other.yaml")
    one, two = (json.loads((workflow.folder / path).read_text()) for path in facts)
    assert (one["class_names"], two["class_names"]) == ([], ["a", "b", "c"])
    assert workflow.planned(*OWN) == set()


def test_a_file_that_does_not_fit_is_an_error_before_anything_runs(finished, tmp_path):
    workflow = Workflow(tmp_path / "copy", source=finished.folder)
    wrong = arrays()
    wrong["test_labels"] = wrong["test_labels"][:-1]
    np.savez(workflow.folder / "my_data.npz", **wrong)
    said = workflow.snakemake(*OWN, fails=True).stdout
    assert "my_data.npz: test_labels has the shape [29]" in said


def test_a_plan_knows_what_is_done_on_this_content(finished, monkeypatch):
    said = finished.sdd("plan", "--configfile", "own.yaml", "--cores", "1")
    assert "images like my_data" in said and re.search(r"trainings +9 +9 of them done", said)
    monkeypatch.chdir(finished.folder)
    config = validation.validate(reading.read([Path("own.yaml")]))
    datasets = data_entries.survey(config.datasets)
    done = progress.finished(Study.of(config, datasets))
    assert [len(rounds) for rounds in done.values()] == [3, 3, 3]
    changed = {name: replace(data, content="another") for name, data in datasets.items()}
    assert not any(progress.finished(Study.of(config, changed)).values())


def test_the_example_runs_as_its_file_says(tmp_path):
    workflow = Workflow(tmp_path)
    study = ROOT / "workflow" / "studies" / "own_data.yaml"
    script = "python workflow/studies/own_data.py digits.npz"
    assert f"#     {script}" in study.read_text("utf-8")
    subprocess.run([sys.executable, *script.split()[1:]], cwd=workflow.folder, check=True)
    few = {"seeds": [1], "pruning": {"rounds": 4, "fraction": 0.6}}
    (workflow.folder / "few.yaml").write_text(yaml.safe_dump(few))
    workflow.snakemake("--configfile", "workflow/studies/own_data.yaml", "few.yaml")
    reports = workflow.folder / "reports" / "own_data"
    assert (reports / "report.html").exists()
    rounds = pd.read_csv(reports / "rounds.csv")
    rates = rounds.groupby("noise").noise_rate.first().to_dict()
    assert rates == pytest.approx({"given": 0.23, "symmetric-0.4": 0.4}, abs=0.005)
    # Networks on their own learn their wrong labels by heart; dense ones still know most digits.
    alone = rounds[rounds.teacher == "none"]
    assert (alone.groupby("noise").train_accuracy.max() > 90).all()
    dense = alone[alone["round"] == 0]
    assert (dense.test_accuracy > dense.train_clean_accuracy - 25).all()
    assert (dense.test_accuracy > 50).all()
    assert set(rounds.teacher) == {"none", "best"}
    assert "true rate unknown" not in (reports / "tables" / "descent.md").read_text("utf-8")
