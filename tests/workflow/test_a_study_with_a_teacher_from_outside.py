"""A study whose teachers were trained elsewhere, from their weights to the report."""

import re
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import Workflow
from safetensors.numpy import load_file, save_file

from sdd.base.files import read_json

TAUGHT = ("--configfile", "taught.yaml")
NET = """
from torch import nn


def net(channels, size, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size**2, 12), nn.Tanh(),
                         nn.Linear(12, classes))
"""
# As somebody else would: with the model's own code, and half of its first weights pruned.
ELSEWHERE = """
import torch, my_nets
from safetensors.torch import save_file
from sdd.models.lenet import lenet_300_100

torch.manual_seed(7)
for name, net in (("lenet", lenet_300_100(1, 28, 10)), ("mine", my_nets.net(1, 28, 10))):
    with torch.no_grad():
        net[1].weight[::2] = 0
    save_file(net.state_dict(), f"{name}.safetensors")
"""
RECIPE = {
    "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 1e-4,
    "batch_size": 64, "epochs": 1, "schedule": "constant", "milestones": [],
}  # fmt: skip
DIGITS = {
    "dataset": "mnist-5k", "noise": {"kind": "symmetric", "rate": 0.2}, "model": "lenet-300-100",
}  # fmt: skip
LENET = {"weights": "lenet.safetensors", "model": "lenet-300-100"}
MINE = {"weights": "mine.safetensors", "model": "my-net", "name": "tanh"}
STUDY = {
    "study": "taught",
    "seeds": [1],
    "models": {"my-net": {"build": "my_nets:net"}},
    "experiments": [
        {"name": "alone", **DIGITS},
        {"name": "lenet", **DIGITS, "teacher": LENET},
        {"name": "mine", **DIGITS, "teacher": MINE},
    ],
    "recipes": {"lenet-300-100": RECIPE},
    "pruning": {"rounds": 2},
}
STUDENTS = ("kd-lenet-300-100-outside-wd0.0001", "kd-my-net-tanh-wd0.0001")
ADOPTED = "Adopting the teacher from outside at mnist-5k/"


def rounds(*objectives):
    at = "mnist-5k/symmetric-0.2/lenet-300-100"
    return {f"Round {r:02d} of {at}/{name}/seed1" for name in objectives for r in range(3)}


def made(jobs):
    """Without what tables, figures and the report are made by."""
    return {j for j in jobs if j.startswith(("Round", "Labels", "Prep", "Logits", "Adopt"))}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workflow = Workflow(tmp_path_factory.mktemp("taught"))
    (workflow.folder / "my_nets.py").write_text(NET)
    (workflow.folder / "taught.yaml").write_text(yaml.safe_dump(STUDY))
    subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=workflow.folder, check=True)
    workflow.snakemake(*TAUGHT)
    return workflow


def test_it_runs_to_the_report_where_the_teachers_cost_is_not_known(finished):
    reports = finished.folder / "reports" / "taught"
    assert "table2_distillation" in (reports / "report.html").read_text("utf-8")
    frame = pd.read_csv(reports / "rounds.csv")
    taught = frame[frame.experiment != "alone"]
    assert {chain.split("/")[3] for chain in taught.chain} == set(STUDENTS)
    assert taught.teacher.eq("outside").all()
    named = taught[["teacher_model", "teacher_objective"]].drop_duplicates().to_numpy().tolist()
    assert named == [["lenet-300-100", "outside"], ["my-net", "tanh"]]
    assert taught[["teacher_chain", "teacher_round"]].isna().all(axis=None)
    assert taught.teacher_logits_flops.eq(3000 * 266_200).sum() == 3  # their own cost is known

    table = pd.read_csv(reports / "tables" / "table2_distillation.csv")
    outside = table.teacher == "outside"
    assert outside.sum() == 2 and table[~outside].total_flops_mean.notna().all()
    unknown = [
        f"{part}_{cost}_mean" for part in ("teacher", "total") for cost in ("flops", "co2_g")
    ]
    assert table.loc[outside, unknown].isna().all(axis=None)
    assert table.loc[outside, ["flops_mean", "test_accuracy_mean"]].notna().all(axis=None)
    text = (reports / "tables" / "table2_distillation.md").read_text("utf-8")
    assert text.count("not known") == 2 * 4
    compared = pd.read_csv(reports / "tables" / "comparisons.csv")
    assert compared.method.eq("teacher from outside, early stop").all()
    counted = compared.comparison.str.endswith("the teacher's counted")
    assert compared[counted].ours_mean.isna().all() and compared.paper.isna().all()
    alone = compared.comparison == "FLOPs saved against early stop"
    assert compared[alone].ours_mean.notna().all()
    claims = pd.read_csv(reports / "tables" / "claims.csv")
    assert (claims.holds == "not known").sum() == 2 * 2
    assert "not known" in (reports / "tables" / "claims.md").read_text("utf-8")
    assert "Nothing to be done" in finished.snakemake(*TAUGHT).stdout


def test_the_adopted_weights_are_those_of_the_file(finished):
    folder = finished.folder / "results/taught/teachers/outside/mnist-5k/lenet-300-100/outside"
    facts = read_json(folder / "outside.json")
    assert facts["macs"]["forward_macs"] == 266_200 and "seconds" not in str(facts)
    given, kept = (load_file(f) for f in (finished.folder / "lenet.safetensors",
                                          folder / "model.safetensors"))  # fmt: skip
    assert given.keys() == kept.keys()
    assert all(np.array_equal(given[name], kept[name]) for name in given)
    assert str(finished.folder) not in (folder / "outside.json").read_text("utf-8")


def test_a_plan_knows_what_there_is_to_do_and_what_is_done(finished):
    said = finished.sdd("plan", *TAUGHT, "--cores", "1")
    assert "9 of them done" in said and "2 adopt_teacher" in said
    assert "Training my-net on images like mnist-5k" in said
    again = (*TAUGHT, "--forceall")
    assert sum(finished.counted(*again).values()) == int(re.search(r"jobs +(\d+) ", said)[1])


def test_watching_and_archives_know_the_teachers(finished, tmp_path):
    said = finished.sdd("watch", *TAUGHT, "--once")
    assert "9 of 9" in said and "Traceback" not in said
    path = tmp_path / "taught.zip"
    finished.sdd("archive", *TAUGHT, "--weights", "all", "--output", str(path))
    names = zipfile.ZipFile(path).namelist()
    adopted = "results/taught/teachers/outside/mnist-5k/my-net/tanh"
    assert f"{adopted}/outside.json" in names and f"{adopted}/model.safetensors" in names
    assert "my_nets.py" in names


def test_moving_the_weights_trains_nothing_and_changing_them_trains_their_students(
    finished, tmp_path
):
    workflow = Workflow(tmp_path / "copy", source=finished.folder)
    (workflow.folder / "elsewhere").mkdir()
    moved = workflow.folder / "elsewhere" / "w.safetensors"
    (workflow.folder / "lenet.safetensors").rename(moved)
    moved.touch()
    config = yaml.safe_load(yaml.safe_dump(STUDY))
    config["experiments"][1]["teacher"]["weights"] = "elsewhere/w.safetensors"
    (workflow.folder / "taught.yaml").write_text(yaml.safe_dump(config))
    # The config's own copy names the new place, and the report has the old one.
    expected = {"The study's whole config", "HTML report of taught"}
    assert workflow.planned(*TAUGHT) == expected

    weights = load_file(moved)
    weights["fc1.bias"][0] += 1
    save_file(weights, moved)
    assert made(workflow.planned(*TAUGHT)) == rounds(STUDENTS[0]) | {
        f"{ADOPTED}lenet-300-100/outside",
        "Logits of the outside teacher from mnist-5k/symmetric-0.2/lenet-300-100/outside/seed1",
    }


def test_weights_that_do_not_fit_are_an_error_before_their_students_train(finished, tmp_path):
    workflow = Workflow(tmp_path / "copy", source=finished.folder)
    file = workflow.folder / "lenet.safetensors"
    given = file.rename(workflow.folder / "given.safetensors")
    file.write_bytes(given.read_bytes()[:-4])
    said = workflow.snakemake(*TAUGHT, fails=True).stdout
    assert "experiments[1].teacher.weights: lenet.safetensors is no whole safetensors" in said
    save_file({f"module.{name}": w for name, w in load_file(given).items()}, file)
    config = yaml.safe_load(yaml.safe_dump(STUDY)) | {"seeds": [2]}
    (workflow.folder / "taught.yaml").write_text(yaml.safe_dump(config))
    said = workflow.snakemake(*TAUGHT, fails=True).stdout
    assert "lenet.safetensors does not hold the weights of lenet-300-100 for images of" in said
    assert "it lacks fc1.weight, fc1.bias" in said and "module.fc1.weight" in said
    assert "Traceback" not in said
    assert not list(
        (workflow.folder / "results").rglob(f"{STUDENTS[0]}/seed2/round00/metrics.json")
    )
