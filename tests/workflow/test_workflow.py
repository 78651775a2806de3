"""The workflow as a whole: from nothing to the report, rerunning exactly what changed, recovery.

The smoke study takes the embedded study's path; it is run once, and each test below changes one
thing and reads what a dry run would do.
"""

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT, SMOKE, Workflow

from sdd.base.files import read_json, write_json
from sdd.planning import forecast
from sdd.report.catalogue import FIGURES as ALL_FIGURES
from sdd.report.catalogue import TABLES as ALL_TABLES
from sdd.study import data_entries, validation
from sdd.study.reading import merge
from sdd.study.study import Study

STUDIES = ROOT / "workflow" / "studies"
CHAIN = "mnist-5k/symmetric-0.4/lenet-300-100/{}/seed{}"
PLAIN, STRONG = "ce-wd0.0001", "ce-wd0.01"
BEST, DENSE = "kd-lenet-300-100-best-wd0.0001", "kd-lenet-300-100-dense-wd0.0001"
CHAINS = (PLAIN, STRONG, BEST, DENSE)

# The other figure is of chains that differ in how they are pruned and retrained.
OTHERS = {"early_stopping_savings", "deployment", "figure_methods", "figure_deployment"}
FIGURES = {f"Figure {name}" for name in ALL_FIGURES if name not in OTHERS}
# The other table is of chains that early stopping really ended.
TABLES = {f"Table {name}" for name in ALL_TABLES if name not in OTHERS}
# Those that compare settings with each other.
COMPARING = {
    "Table table1_l2", "Table table2_distillation", "Table claims", "Table comparisons",
    "Table teacher_selection", "Figure figure3_l2", "Figure figure_l2_ablation",
    "Figure figure4_weights", "Figure figure5_distillation",
}  # fmt: skip
COLLECT, CONFIG, PAGE, HTML = (
    "Collecting every round of smoke", "The study's whole config", "Page of smoke",
    "HTML report of smoke",
)  # fmt: skip
RESULTS = {COLLECT, PAGE, HTML} | TABLES | FIGURES


def rounds(objectives, which=range(4), seed=1) -> set[str]:
    return {f"Round {r:02d} of {CHAIN.format(o, seed)}" for o in objectives for r in which}


def chosen(seed=1) -> str:
    return f"Choosing the best teacher from {CHAIN.format(PLAIN, seed)}"


def logits(which, seed=1) -> str:
    return f"Logits of the {which} teacher from {CHAIN.format(PLAIN, seed)}"


CHOICES = {chosen(), logits("best"), logits("dense")}


@pytest.fixture
def overlay(finished, tmp_path):
    """Plans the finished study with some keys of the smoke study changed."""

    def planned(change) -> set[str]:
        config = yaml.safe_load((finished.folder / SMOKE[1]).read_text())
        change(config)
        path = tmp_path / "overlay.yaml"
        path.write_text(yaml.safe_dump(config))
        return finished.planned("--configfile", str(path))

    return planned


@pytest.fixture
def edited(finished) -> Iterator:
    """Edits files of the finished study, and puts them back afterwards."""
    before: dict[Path, bytes] = {}

    def edit(name: str, change) -> None:
        path = finished.folder / name
        before.setdefault(path, path.read_bytes())
        text = path.read_text()
        assert change(text) != text
        path.write_text(change(text))

    yield edit
    for path, content in before.items():
        path.write_bytes(content)


def test_from_nothing_to_tables_figures_and_report(finished):
    reports = finished.folder / "reports" / "smoke"
    frame = pd.read_csv(reports / "rounds.csv")
    assert len(frame) == 4 * 4
    assert set(frame.teacher) == {"none", "best", "dense"}
    assert (
        frame.groupby("round").weights_kept.first() == [266_200, 212_960, 170_368, 136_294]
    ).all()
    for kind, names, endings in [
        ("tables", TABLES, (".csv", ".md", ".tex")), ("figures", FIGURES, (".png", ".pdf")),
    ]:  # fmt: skip
        for name in names:
            for ending in endings:
                path = reports / kind / (name.split()[1] + ending)
                assert path.stat().st_size > 100, path
    html = (reports / "report.html").read_text()
    for name in TABLES | FIGURES:
        assert name.split()[1] in html
    assert "What the study found" in html and "index.html" in html
    assert (reports / "index.html").stat().st_size < 8e6
    choice = json.loads(
        (finished.folder / "results/smoke/teachers" / CHAIN.format(PLAIN, 1) / "best/teacher.json")
        .read_text()
    )  # fmt: skip
    chain = frame[(frame.chain == CHAIN.format(PLAIN, 1)) & (frame.experiment == "vanilla")]
    best = chain[chain.validation_accuracy == chain.validation_accuracy.max()]
    assert choice["round"] == best["round"].max()
    assert set(frame[frame.teacher == "best"].teacher_round) == {choice["round"]}
    log = finished.folder / "results/smoke/logs/chains" / CHAIN.format(BEST, 1) / "round03.log"
    assert "epoch 3/3  learning rate 0.005  loss " in log.read_text()


def test_a_second_run_has_nothing_to_do(finished):
    assert "Nothing to be done" in finished.snakemake(*SMOKE).stdout


def test_results_name_no_absolute_path(finished):
    for path in (finished.folder / "results").rglob("*.json"):
        assert str(finished.folder) not in path.read_text()


def test_a_color_redraws_the_figures(overlay):
    change = {"figures": {"palette": "deep"}}
    assert overlay(lambda c: c.update(change)) == FIGURES | {CONFIG, HTML}


def test_a_patience_rewrites_tables_and_the_figures_that_use_it(overlay):
    change = {"early_stopping": {"patience": 1}}
    ruled = {"Figure figure1_phenomenon", "Figure figure3_l2", "Figure figure4_weights"}
    assert overlay(lambda c: c.update(change)) == ruled | TABLES | {CONFIG, PAGE, HTML}


def test_a_carbon_intensity_trains_nothing(overlay):
    assert overlay(lambda c: c.update(energy={"carbon_intensity": 50})) == RESULTS | {CONFIG}


@pytest.mark.parametrize(
    "change",
    [
        {"device": "cpu"},
        {"trainings_per_gpu": 3},
        {"deterministic": True},
        {"rounds_per_job": 3},
        {"save_every": 5},
        {"cluster": {"lenet-300-100": {"minutes": 99}}},
        {"data": {"folder": "some/where"}},
    ],
)
def test_how_it_is_run_changes_nothing(overlay, change):
    assert overlay(lambda c: c.update(change)) == set()


def test_a_weight_decay_of_one_experiment_trains_that_chain(overlay):
    planned = overlay(lambda c: c["experiments"][0].update(weight_decay=[1e-4, 2e-2]))
    assert planned == rounds(["ce-wd0.02"]) | RESULTS | {CONFIG}


def test_alpha_retrains_the_students(overlay):
    planned = overlay(lambda c: c.update(distillation={"alpha": 0.5}))
    assert planned == rounds([BEST, DENSE]) | RESULTS | {CONFIG}


def test_a_table_too_large_keeps_the_teacher_in_the_loop(overlay):
    planned = overlay(lambda c: c.update(distillation={"largest_table": 0}))
    assert planned == rounds([BEST, DENSE]) | RESULTS | {CONFIG}


def test_one_more_seed_trains_that_seed(overlay):
    planned = overlay(lambda c: c.update(seeds=[1, 2]))
    # Which round teaches is known when seed 2's chain is done; the dry run shows its students too.
    assert planned == (
        {"Labels of mnist-5k/symmetric-0.4/seed2", CONFIG}
        | {chosen(2), logits("best", 2), logits("dense", 2)}
        | rounds(CHAINS, seed=2)
        | RESULTS
    )


def test_one_more_noise_rate_trains_those_chains(overlay):
    def more(config):
        config["experiments"][0]["noise"]["rate"] = [0.4, 0.2]

    at = "mnist-5k/symmetric-0.2/lenet-300-100"
    assert overlay(more) == (
        {"Labels of mnist-5k/symmetric-0.2/seed1", CONFIG}
        | {f"Round {r:02d} of {at}/{o}/seed1" for o in (PLAIN, STRONG) for r in range(4)}
        | RESULTS
    )


def test_a_pruning_fraction_retrains_all_but_the_dense_rounds(overlay):
    planned = overlay(lambda c: c["pruning"].update(fraction=0.3))
    # The best teacher may become another round, so its student's dense round waits for the choice.
    expected = rounds(CHAINS, range(1, 4)) | {chosen(), logits("best"), CONFIG} | RESULTS
    assert planned - rounds([BEST], [0]) == expected


def test_a_longer_chain_trains_only_the_new_rounds(overlay):
    planned = overlay(lambda c: c["pruning"].update(rounds=4))
    expected = rounds(CHAINS, [4]) | {chosen(), logits("best"), CONFIG} | RESULTS
    # Before the choice is known, a dry run cannot say more about the best teacher's student.
    assert planned - rounds([BEST], range(4)) == expected


@pytest.mark.parametrize(
    ("file", "runs"),
    [
        ("report/figures/occurrence.py", {"Figure figure2_occurrence", HTML}),
        ("report/tables/descent.py", {"Table descent", PAGE, HTML}),
        ("analysis/comparisons.py", TABLES | COMPARING | {PAGE, HTML}),  # what writes tables too
        ("report/page/curves.js", {PAGE, HTML}),
        ("sparsity/masks.py", rounds(CHAINS) | CHOICES | RESULTS),
        ("sparsity/compaction.py", rounds(CHAINS) | CHOICES | RESULTS),
        ("models/vgg.py", rounds(CHAINS) | CHOICES | RESULTS),  # compaction knows its layers
        ("models/vit.py", set()),
        ("study/validation.py", set()),
        ("planning/bill.py", set()),
    ],
)
def test_edited_code_runs_what_depends_on_it(edited, finished, file, runs):
    edited(f"sdd/{file}", lambda text: text + "\nUNUSED = 1\n")
    assert finished.planned(*SMOKE) == runs


def test_the_code_of_the_noise_draws_labels_again(edited, finished):
    edited("sdd/data/labelling.py", lambda text: text + "\nUNUSED = 1\n")
    # Were the labels to come out the same, nothing else would run.
    assert "Labels of mnist-5k/symmetric-0.4/seed1" in finished.planned(*SMOKE)


def test_a_comment_anywhere_runs_nothing(edited, finished):
    for path in sorted((finished.folder / "sdd").rglob("*.py")):
        if not path.stat().st_size:
            continue
        edited(
            str(path.relative_to(finished.folder)), lambda text: f"# A comment.\n{text}\n# End.\n"
        )
    for path in ("Snakefile", *("workflow/rules/" + n for n in ("common.smk", "train.smk"))):
        edited(path, lambda text: text + "\n\n# A comment.\n")
    assert finished.planned(*SMOKE) == set()


def test_touched_weights_run_nothing(finished):
    for path in (finished.folder / "results" / "smoke").rglob("*.safetensors"):
        path.touch()
    (finished.folder / "resources/datasets/mnist-5k/data.safetensors").touch()
    assert finished.planned(*SMOKE) == set()


def test_edited_metrics_run_what_follows_from_them(edited, finished):
    metrics = "results/smoke/chains/" + CHAIN.format(STRONG, 1) + "/round01/metrics.json"
    edited(metrics, lambda text: text.replace('"round": 1', '"round":  1'))
    assert finished.planned(*SMOKE) == rounds([STRONG], [2, 3]) | RESULTS


def test_edited_metrics_of_a_teacher_run_its_students(edited, finished):
    metrics = "results/smoke/chains/" + CHAIN.format(PLAIN, 1) + "/round00/metrics.json"
    edited(metrics, lambda text: text.replace('"round": 0', '"round":  0'))
    expected = rounds([PLAIN], [1, 2, 3]) | CHOICES | rounds([BEST, DENSE]) | RESULTS
    assert finished.planned(*SMOKE) == expected


def test_an_altered_choice_of_a_teacher_is_named(edited, finished):
    choice = f"results/smoke/teachers/{CHAIN.format(PLAIN, 1)}/best/teacher.json"
    edited(choice, lambda text: re.sub(r'"round": \d+', '"round": 99', text))
    said = finished.snakemake("--dry-run", *SMOKE, fails=True).stdout
    assert f"{choice} was altered" in said
    assert "Delete it and run snakemake again" in said


def test_an_edited_caption_makes_the_report_anew(edited, finished):
    edited("workflow/report/figure3_l2.rst", lambda text: text + "\nMore.\n")
    assert finished.planned(*SMOKE) == {HTML}


def test_a_longer_teacher_chain_retrains_no_student(finished, tmp_path):
    """For real, in a copy: the run that follows shows what the dry run could not know."""
    copy = Workflow(tmp_path / "longer", source=finished.folder)
    results = copy.folder / "results/smoke"
    choice = results / "teachers" / CHAIN.format(PLAIN, 1) / "best/teacher.json"
    # A round that no later one can beat: then the choice stays, whatever the machine computes.
    metrics = results / "chains" / CHAIN.format(PLAIN, 1) / "round03/metrics.json"
    facts = read_json(metrics)
    facts["validation"]["accuracy"] = 100.0
    write_json(metrics, facts)
    copy.snakemake(*SMOKE)
    assert json.loads(choice.read_text())["round"] == 3

    config = yaml.safe_load((copy.folder / SMOKE[1]).read_text())
    config["pruning"]["rounds"] = 4
    (copy.folder / SMOKE[1]).write_text(yaml.safe_dump(config))
    before = {path: path.stat().st_mtime_ns for path in results.rglob("round0[0-3]/metrics.json")}
    jobs = copy.jobs(copy.snakemake(*SMOKE).stdout)
    assert {job for job in jobs if job.startswith("Round")} == rounds(CHAINS, [4])
    assert not any(job.startswith("Logits") for job in jobs)
    assert json.loads(choice.read_text())["round"] == 3
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert "Nothing to be done" in copy.snakemake(*SMOKE).stdout


def test_several_rounds_a_job_give_the_same_files(finished, tmp_path):
    copy = Workflow(tmp_path / "segments", source=finished.folder)
    before = {
        path.relative_to(copy.folder): json.loads(path.read_text())["weights_sha256"]
        for path in (copy.folder / "results").rglob("metrics.json")
    }
    shutil.rmtree(copy.folder / "results/smoke")
    shutil.rmtree(copy.folder / "reports/smoke")
    (copy.folder / "segments.yaml").write_text("rounds_per_job: 2\n")
    copy.snakemake(*SMOKE, "segments.yaml")
    for path, sha in before.items():
        assert json.loads((copy.folder / path).read_text())["weights_sha256"] == sha
    assert not list((copy.folder / "results/smoke/.state").iterdir())
    # And back again: nothing to do.
    assert "Nothing to be done" in copy.snakemake(*SMOKE).stdout


def test_a_killed_run_recovers_as_the_readme_says(finished, tmp_path):
    copy = Workflow(tmp_path / "killed", source=finished.folder)
    reference = {
        path.relative_to(copy.folder): json.loads(path.read_text())["weights_sha256"]
        for path in (copy.folder / "results").rglob("metrics.json")
    }
    shutil.rmtree(copy.folder / "results/smoke")
    shutil.rmtree(copy.folder / "reports/smoke")
    copy.kill_during_training(*SMOKE)
    locked = copy.snakemake(*SMOKE, "--rerun-incomplete", fails=True).stdout
    assert "Directory cannot be locked" in locked
    copy.snakemake(*SMOKE, "--unlock")
    copy.snakemake(*SMOKE, "--rerun-incomplete")
    for path, sha in reference.items():
        assert json.loads((copy.folder / path).read_text())["weights_sha256"] == sha


@pytest.mark.parametrize(("limit", "once_a_job"), [((), True), (("90/1s",), False)])
def test_snakemake_looks_for_jobs_when_one_has_ended_and_not_for_ever(workflow, limit, once_a_job):
    (workflow.folder / "slow.yaml").write_text("recipes: {lenet-300-100: {epochs: 60}}\n")
    chains = (CHAIN.format(objective, 1) for objective in (PLAIN, STRONG))
    dense = [f"results/smoke/chains/{chain}/round00/metrics.json" for chain in chains]
    option = ("--max-jobs-per-timespan", *limit) if limit else ()
    said = workflow.snakemake(*dense, *SMOKE, "slow.yaml", "--cores", "1", "--verbose", *option)
    looks, jobs = (said.stdout.count(line) for line in ("Ready jobs: ", "Finished jobid: "))
    assert (looks <= jobs + 1) == once_a_job


def test_a_bad_config_stops_before_any_job(workflow, tmp_path):
    (workflow.folder / "bad.yaml").write_text("recipes: {lenet-300-100: {epochs: 10}}\n")
    out = workflow.snakemake("--configfile", "bad.yaml", fails=True).stdout
    assert "recipes.lenet-300-100.milestones: 20 is beyond the last epoch" in out
    assert "Traceback" not in out and not (workflow.folder / "results").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seeds: [1]\nstudy: a\nseeds: [2]\n", "'seeds' stands in line 1 and again in line 3"),
        ("seeds: [07, 08]\n", "YAML takes 07 for an octal number. Write 7"),
        ("pruning: {fraction: 1.0e-4}\n", "takes 69,0"),
    ],
)
def test_a_config_with_a_slip_of_the_keyboard_is_refused(workflow, text, words):
    (workflow.folder / "slip.yaml").write_text(text)
    for command in (
        lambda: workflow.snakemake("--dry-run", "--configfile", "slip.yaml", fails=True).stdout,
        lambda: workflow.sdd("plan", "--configfile", "slip.yaml", fails=True),
    ):
        said = command()
        assert words in said and "Traceback" not in said


def test_a_list_on_the_command_line_is_a_list(workflow):
    said = workflow.snakemake("--dry-run", "--config", "seeds=[1]", "pruning={rounds: 2}").stdout
    assert len({job for job in workflow.jobs(said) if job.startswith("Labels")}) == 1


def test_deleted_results_come_back(finished, tmp_path):
    copy = Workflow(tmp_path / "deleted", source=finished.folder)
    reports = copy.folder / "reports" / "smoke"
    gone = [reports / "tables/descent.md", reports / "figures/figure1_phenomenon.pdf"]
    for path in gone:
        path.unlink()
    assert "jobs done, every round is done" in copy.snakemake(*SMOKE).stdout
    assert all(path.exists() for path in gone)
    (reports / "rounds.csv").unlink()
    assert COLLECT in copy.planned(*SMOKE)


def test_a_failed_training_keeps_what_was_finished(workflow):
    (workflow.folder / "bad.yaml").write_text(
        "recipes: {lenet-300-100: {epochs: 1, milestones: [], learning_rate: 1000}}\n"
    )
    target = f"results/smoke/chains/{CHAIN.format(PLAIN, 1)}/round00/metrics.json"
    out = workflow.snakemake(*SMOKE, "bad.yaml", "--", target, fails=True).stdout
    assert f"error: {CHAIN.format(PLAIN, 1)}, round 0: the loss is" in out
    assert "at learning rate 1000" in out
    assert (workflow.folder / "resources/datasets/mnist-5k/dataset.json").exists()
    assert not (workflow.folder / target).exists()
    log = workflow.folder / f"results/smoke/logs/chains/{CHAIN.format(PLAIN, 1)}/round00.log"
    assert "error: " in log.read_text() and "the loss is" in log.read_text()
    assert "1 of 3 jobs done, time left: not known before the first epochs" in out
    watched = workflow.sdd("watch", *SMOKE, "bad.yaml", "--once")
    assert "ce-wd0.0001 round 00  failed: " in watched and "the loss is" in watched


def test_a_failed_preparation_says_why_in_terminal_and_log(workflow):
    (workflow.folder / "bad.yaml").write_text("data: {folder: nowhere}\n")
    facts = "resources/datasets/cifar10/dataset.json"
    out = workflow.snakemake(facts, "--configfile", "bad.yaml", fails=True).stdout
    log = workflow.folder / "resources/datasets/cifar10/prepare.log"
    for text in (out, log.read_text()):
        assert "error: cifar10: " in text and "nowhere" in text


def test_on_one_machine_trainings_share_the_cores_and_the_gpus(workflow, monkeypatch):
    data = "resources/datasets/mnist-5k/dataset.json"

    def limits(*arguments) -> dict[str, int]:
        (workflow.folder / data).unlink(missing_ok=True)
        said = workflow.snakemake(data, *arguments).stdout
        return {k: int(n) for k, n in re.findall(r'Resource\("(gpu|trainings)", (\d+)\)', said)}

    program = workflow.folder / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nfor n in 0 1 2; do echo "GPU $n: X (UUID: GPU-$n)"; done\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (workflow.folder / "two.yaml").write_text("trainings_per_gpu: 2\n")
    assert limits() == {"gpu": 3, "trainings": os.cpu_count()}
    assert limits("--configfile", "two.yaml")["gpu"] == 6
    commands = ("--dry-run", "--printshellcmds", "--configfile", "two.yaml")
    assert "--device auto --sharing 2 --deterministic 0" in workflow.snakemake(*commands).stdout
    assert limits("--resources", "gpu=4", "trainings=5") == {"gpu": 4, "trainings": 5}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-2,0")
    assert limits("--configfile", "two.yaml")["gpu"] == 4


@pytest.mark.parametrize("study", sorted(path.name for path in STUDIES.glob("*.yaml")))
def test_a_dry_run_has_the_jobs_that_the_plan_counts(
    workflow, embedded, study, example, monkeypatch
):
    shutil.copy(example / "digits.npz", workflow.folder)
    monkeypatch.chdir(workflow.folder)
    overlay = yaml.safe_load((STUDIES / study).read_text())
    config = validation.validate(merge(embedded, overlay))
    built = Study.of(config, data_entries.survey(config.datasets))
    dry_run = Counter()
    for rule, count in workflow.counted("--configfile", f"workflow/studies/{study}").items():
        kind = next((k for k in ("table", "figure") if rule.startswith(k)), rule)
        dry_run[kind] += count
    counted = forecast.jobs(built)
    assert counted == dry_run
    trainings = ("train_dense", "prune_retrain", "distill_dense", "distill_retrain")
    assert sum(counted.get(t, 0) for t in trainings) == built.count
