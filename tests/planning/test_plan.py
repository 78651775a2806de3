"""What a study costs: against hand counts, and against a real run of the smoke study."""

import copy
import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT, SMOKE

from sdd.analysis.collected import chains, stopped_outcomes
from sdd.base.errors import CalibrationError, StudyError
from sdd.planning import bill, calibration, forecast, work
from sdd.planning.progress import finished as finished_rounds
from sdd.planning.rates import Anatomy, Machine, Power, Rates, Setting
from sdd.planning.schedule import Job, schedule, span, training_time
from sdd.study import validation
from sdd.study.reading import merge, read
from sdd.study.settings import EarlyStopping
from sdd.study.study import Study


def planned(config) -> Study:
    return Study.of(validation.validate(config))


LENET = Anatomy(macs=266_200, state_bytes=4 * 266_610, weights=266_200)
RATES = Rates(
    start_s=10.0, round_s=2.0, setup_s=1.0, image_s={0: 0.003, 10: 0.001}, image_macs={0: 500.0},
    power=Power(watts=100.0, pue=1.5, carbon_intensity=400.0, method="a meter"), device="a machine",
)  # fmt: skip


def machine(study, workers=2, **changes) -> Machine:
    settings = {Setting.of(chain) for chain in study.chains.values()}
    models = {(chain.model, chain.dataset) for chain in study.chains.values()}
    return Machine(
        workers,
        0.1,
        dict.fromkeys(models, LENET),
        dict.fromkeys(settings, replace(RATES, **changes)),
    )


def draw_up(study, done=None, **changes) -> bill.Bill:
    nothing = {path: [] for path in study.chains}
    return forecast.draw_up(study, machine(study, **changes), nothing if done is None else done)


@pytest.fixture
def smoke(config) -> dict:
    return merge(config, yaml.safe_load((ROOT / SMOKE[1]).read_text()))


@pytest.fixture
def lonely(smoke) -> dict:
    """A study of one plain chain."""
    experiment = {"weight_decay": 1e-4}
    return smoke | {"experiments": [smoke["experiments"][0] | experiment]}


# --- The schedule ---------------------------------------------------------------------------------


def test_a_schedule_by_hand():
    jobs = [
        Job("a", 3), Job("b", 2), Job("c", 2), Job("d", 4, ("b",)), Job("e", 1, ("a", "c")),
    ]  # fmt: skip
    # Two workers: a 0-3 and b 0-2, then c 2-4 (longer ready than d), d 3-7, e 4-5.
    runs = {run.job.name: (run.start_s, run.end_s) for run in schedule(jobs, 2)}
    assert runs == {"a": (0, 3), "b": (0, 2), "c": (2, 4), "d": (3, 7), "e": (4, 5)}
    assert span(schedule(jobs, 1)) == 12
    assert span(schedule(jobs, 5)) == 6  # b, then d
    assert span(schedule([], 2)) == 0


def test_jobs_that_wait_forever_are_an_error():
    with pytest.raises(ValueError, match="circle"):
        schedule([Job("a", 1, ("b",)), Job("b", 1, ("a",))], 2)
    with pytest.raises(KeyError):
        schedule([Job("a", 1, ("nobody",))], 2)


def test_the_time_in_which_something_trains():
    # Half of each job is training. Two side by side: three quarters of the time at least one is.
    jobs = [Job("a", 4, training_s=2), Job("b", 4, training_s=2)]
    assert training_time(schedule(jobs, 2)) == pytest.approx(3)
    assert training_time(schedule(jobs, 1)) == pytest.approx(4)
    assert training_time(schedule([*jobs, Job("c", 9)], 3)) == pytest.approx(3)


# --- The pure parts -------------------------------------------------------------------------------


def test_a_chain_by_hand(lonely):
    bought = draw_up(planned(lonely), workers=5)
    epochs, images, evaluated = 3, 3500, 3500 + 500 + 1000
    speed = [0.003, 0.0028, 0.0026, 0.0024]  # linear between the rounds 0 and 10
    training = [1 + epochs * images * s for s in speed]
    starts = 4 * (1 + work.ENGINE)
    starts += 2 * work.LIGHT + work.ENGINE + work.TABLE + work.ENGINE  # labels, collect
    starts += work.FIGURE + work.ENGINE + work.REPORT + work.ENGINE
    expected = sum(training) + 4 * (2 + evaluated * 0.001) + 10 * starts
    assert bought.whole.seconds_at_least == pytest.approx(expected)
    # Of three tables and three figures one waits, on five workers, for a table to be written.
    expected += 10 * (work.TABLE + work.ENGINE)
    assert bought.whole.seconds == pytest.approx(expected)
    slower = 3 * training[0] - sum(training[1:])
    assert bought.dense.seconds == pytest.approx(expected + slower)
    assert bought.whole.flops == 4 * 3 * 3500 * 3 * 266_200
    assert bought.whole.flops_computed == 4 * 3 * 3500 * 500
    # One at a time: the meter runs in each training, and not in between.
    share = sum(training)
    assert bought.whole.energy_kwh < 150 * expected / 3.6e6
    assert bought.whole.energy_kwh == pytest.approx(150 * share / 3.6e6)
    assert bought.whole.co2_g == pytest.approx(bought.whole.energy_kwh * 400)
    assert bought.remaining == bought.whole and bought.stopped is None


def test_several_rounds_a_job_save_start_ups(lonely):
    lonely["pruning"]["rounds"] = 7
    one = draw_up(planned(lonely)).whole.seconds
    three = draw_up(planned(lonely | {"rounds_per_job": 3})).whole.seconds
    # Rounds 0, 1, 4 and 7 start a job that trains; 2, 3, 5 and 6 fetch.
    assert one - three == pytest.approx(4 * 10 * (1 - work.LIGHT))
    # Rounds 0 to 4 are there: 5 and 6 were never trained ahead, 7 leads a segment.
    done = {path: [50.0] * 5 for path in planned(lonely).chains}
    alone = draw_up(planned(lonely), done).remaining
    ahead = draw_up(planned(lonely | {"rounds_per_job": 3}), done).remaining
    assert alone == ahead and alone.trainings == 3


def test_students_wait_for_their_teacher(smoke):
    built = planned(smoke)
    whole = work.Work(dict.fromkeys(built.chains, 0), dict.fromkeys(built.chains, 4))
    todo = work.tasks(built, dict.fromkeys(built.chains, RATES), whole)
    order = {job.name: job for job in todo}
    for chain in built.chains.values():
        first = order[f"{chain.path} 0"]
        if chain.teacher:
            (logits,) = first.needs
            (before,) = order[logits].needs
            if chain.teacher.chosen:
                (before,) = order[before].needs
            last = 3 if chain.teacher.chosen else 0
            assert before == f"{chain.teacher.chain.path} {last}"
        else:
            assert first.needs == (f"labels {chain.labels}",)
    # However many workers: the teacher's four rounds, then its best one's student's four.
    many, more = (draw_up(built, workers=n).whole for n in (4, 1000))
    assert many.seconds_at_least == more.seconds_at_least <= more.seconds <= many.seconds


def test_a_shared_dense_round_is_trained_once_and_the_others_wait_for_it(smoke):
    plain, distilled = smoke["experiments"][0] | {"weight_decay": 1e-4}, smoke["experiments"][-1]
    both = {"criterion": ["magnitude", "random"]}
    alone, shared = (
        planned(smoke | {"experiments": [plain | some, distilled | some]}) for some in ({}, both)
    )
    bought = draw_up(shared)
    # Of 6 chains of 4 rounds: one dense round of both teachers, one of both students of it.
    assert (bought.chains, bought.trainings) == (6, 6 * 4 - 2)
    assert bought.jobs["train_dense"] == 1 and bought.jobs["prune_retrain"] == 2 * 3
    assert bought.jobs["distill_dense"] == 3 and bought.jobs["distill_retrain"] == 4 * 3
    assert bought.epochs == 22 * 3
    assert bought.whole.flops == 22 * 3 * 3500 * 3 * 266_200
    assert bought.whole.trainings == 22 and bought.remaining == bought.whole
    nothing = dict.fromkeys(shared.chains, 0)
    everything = work.Work(nothing, dict.fromkeys(shared.chains, 4))
    todo = work.tasks(shared, dict.fromkeys(shared.chains, RATES), everything)
    trained = {job.name: job for job in todo if job.training_s}
    assert len(trained) == 22 + 3  # three files of logits
    for chain in shared.chains.values():
        assert trained[f"{chain.path} 1"].needs == (f"{chain.dense_path} 0",)
        assert trained[f"{chain.path} 2"].needs == (f"{chain.path} 1",)
    # Once the dense rounds are there, nobody waits for them.
    done = {path: [50.0] for path in shared.chains}
    left = draw_up(shared, done)
    assert (left.done, left.remaining.trainings) == (4, 18)
    assert draw_up(alone).disk["weights"] < bought.disk["weights"]
    dense = sum("/round00/" in shared.files(c, n).data for c, n in shared.trainings)
    assert dense == 4


def test_teacher_logits_are_of_every_view_of_an_image(smoke):
    built = planned(smoke)
    smoke["recipes"]["lenet-300-100"]["augmentation"] = "flip-crop"
    augmented = planned(smoke)
    passes = [draw_up(s).whole.flops_computed for s in (built, augmented)]
    assert passes[1] - passes[0] == 2 * 161 * 3500 * 266_200  # a dense and a best teacher


def test_power_that_is_not_measured_stays_so(smoke):
    bought = draw_up(planned(smoke), power=None)
    assert bought.whole.energy_kwh is None and bought.whole.co2_g is None
    assert "not measured" in bill.text(bought) and "CO2" not in bill.text(bought)


def test_the_carbon_intensity_of_the_config_counts(smoke):
    smoke["energy"]["carbon_intensity"] = 100
    bought = draw_up(planned(smoke)).whole
    assert bought.co2_g == pytest.approx(100 * bought.energy_kwh)


def test_weight_decays_epochs_and_classes_share_a_calibration(embedded, smoke):
    settings = [
        {Setting.of(chain) for chain in planned(config).chains.values()}
        for config in (embedded, smoke)
    ]
    assert settings[0] == settings[1] and len(settings[0]) == 1
    overlay = yaml.safe_load((ROOT / "workflow/studies/paper.yaml").read_text())
    paper = planned(merge(embedded, overlay))
    shared = {(s.model, s.data.name) for s in map(Setting.of, paper.chains.values())}
    assert shared == {
        ("vit", "cifar10"), ("resnet18", "cifar10"), ("vgg-5-5-averaged", "cifar10"),
        ("lenet-300-100", "mnist"),
    }  # fmt: skip


def test_the_rounds_that_are_timed_span_the_chain():
    # 0.8^r falls to 0.9, 0.4, 0.1 and 0.03 at the rounds 1, 5, 11 and 16.
    assert calibration.rounds_to_time(0.2, 31) == [0, 1, 5, 11, 16, 31]
    assert calibration.rounds_to_time(0.2, 3) == [0, 1, 3]
    assert calibration.rounds_to_time(0.5, 0) == [0]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0484, "48 ms"), (12.34, "12.3 s"), (689, "11.5 min"), (7200, "2.0 h"), (1e6, "11.6 days")],
)
def test_durations_read_well(seconds, said):
    assert bill.duration(seconds) == said


def test_the_page_fits_a_terminal(embedded):
    bought = draw_up(planned(embedded))
    lines = bill.text(bought).splitlines()
    assert max(map(len, lines)) <= 100
    assert "busy" not in bill.text(bought)
    assert "busy (load 7.0)" in bill.text(replace(bought, load=7.0))
    assert "mnist5k: 18 chains of 32 rounds" in lines[0]
    assert "576" in bill.text(bought) and "not known before the run" in bill.text(bought)


def test_a_study_that_early_stopping_ends_is_billed_as_the_most_it_can_cost(embedded):
    afterwards, online = (
        draw_up(planned(merge(embedded, {"early_stopping": {"ends_chains": ends}})))
        for ends in (False, True)
    )
    assert "the most that they can cost" in bill.text(online)
    assert "the most that they can cost" not in bill.text(afterwards)
    assert online.trainings == afterwards.trainings
    assert online.whole.flops_computed == afterwards.whole.flops_computed


# --- Against a real run ---------------------------------------------------------------------------


@pytest.fixture
def run(finished, smoke, monkeypatch):
    """The smoke study, in the folder where it was run."""
    monkeypatch.chdir(finished.folder)
    return planned(smoke)


def metrics_of(study) -> list[dict]:
    paths = [
        study.layout.round(path, number).facts for path in study.chains for number in study.rounds
    ]
    return [json.loads(Path(path).read_text()) for path in paths]


def test_flops_are_those_of_the_run(run):
    anatomy = calibration.anatomy(next(iter(run.chains.values())))
    assert anatomy == LENET
    assert draw_up(run).whole.flops == sum(m["flops"] for m in metrics_of(run))


def test_disk_is_that_of_the_run(run, finished):
    def measured(folder, *patterns):
        return sum(p.stat().st_size for x in patterns for p in (finished.folder / folder).rglob(x))

    disk = draw_up(run).disk
    results = run.layout.results
    assert disk["weights"] == pytest.approx(
        measured(f"{results}/chains", "*.safetensors"), rel=0.01
    )
    logits = measured(f"{results}/teachers", "*.safetensors")
    assert disk["teacher logits"] == pytest.approx(logits, rel=0.01)
    assert disk["labels"] == pytest.approx(measured(f"{results}/labels", "*.safetensors"), rel=0.01)
    assert disk["data sets"] == pytest.approx(measured("resources", "data.safetensors"), rel=0.01)
    records = measured(f"{results}/chains", "metrics.json") + measured(
        f"{results}/logs/chains", "*.log"
    )
    assert disk["metrics and logs"] == pytest.approx(records, rel=0.2)


def test_what_is_done_is_done(run):
    done = finished_rounds(run)
    assert {path: len(found) for path, found in done.items()} == dict.fromkeys(run.chains, 4)
    bought = draw_up(run, done)
    assert bought.done == bought.trainings == 16
    assert (bought.remaining.trainings, bought.remaining.seconds) == (0, 0)


@pytest.mark.parametrize(
    ("change", "done"),
    [
        ({"early_stopping": {"patience": 1}, "rounds_per_job": 3}, (16,)),
        ({"distillation": {"alpha": 0.5}}, (8,)),
        # The best teacher may become another round, and its student's chain then begins anew.
        ({"pruning": {"fraction": 0.3}}, (3,)),
        ({"pruning": {"rounds": 4}}, (12,)),
        ({"seeds": [1, 2]}, (16,)),
        ({"recipes": {"lenet-300-100": {"learning_rate": 0.04}}}, (0,)),
        ({"validation": {"fraction": 0.2}}, (0,)),
        ({"study": "another"}, (0,)),
    ],
)
def test_rounds_of_another_spec_are_not_done(run, change, done):
    changed = planned(merge(run.config.to_dict(), change))
    assert sum(map(len, finished_rounds(changed).values())) in done


def test_what_builds_on_a_lost_round_is_not_done(run, finished, tmp_path, monkeypatch):
    shutil.copytree(finished.folder / run.layout.results, tmp_path / run.layout.results)
    shutil.copytree(finished.folder / "resources", tmp_path / "resources")
    monkeypatch.chdir(tmp_path)
    teacher = next(iter(run.teachers.values())).chain
    (tmp_path / run.layout.round(teacher.path, 0).facts).write_text("{")
    found = {path: len(rounds) for path, rounds in finished_rounds(run).items()}
    (other,) = [p for p, c in run.chains.items() if not c.teacher and p != teacher.path]
    assert found == {path: 4 * (path == other) for path in run.chains}


def test_rounds_that_early_stopping_left_out_are_there_and_cost_nothing(embedded):
    config = merge(embedded, {"early_stopping": {"ends_chains": True}, "pruning": {"rounds": 3}})
    study = planned(config)
    done = {path: [70.0, 50.0, 50.0, math.nan] for path in study.chains}
    rule = {"early_stopping": {"patience": 2, "tolerance": 1}}
    stopped = draw_up(planned(merge(config, rule)), done).stopped
    assert stopped.trainings == 3 * len(study.chains)


def test_early_stopping_is_known_after_the_run(run):
    done = finished_rounds(run)
    rule = EarlyStopping(patience=1, tolerance=0)
    ruled = planned(merge(run.config.to_dict(), {"early_stopping": vars(rule)}))
    stopped = draw_up(ruled, done).stopped
    rounds = chains(pd.read_csv(f"reports/{run.name}/rounds.csv"))
    outcomes = stopped_outcomes(rounds, rule).set_index("chain").flops
    teaches = next(t.chain.path for t in run.teachers.values() if t.which == "best")
    outcomes[teaches] = rounds[rounds.chain == teaches].flops.sum()  # to know which is the best
    assert stopped.flops == outcomes.sum()
    some = copy.deepcopy(done)
    some[teaches].pop()
    assert draw_up(ruled, some).stopped is None


# --- The command ----------------------------------------------------------------------------------


def command(folder, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sdd", "plan", *arguments],
        cwd=folder, text=True, capture_output=True, timeout=240,
    )  # fmt: skip


def test_the_command_measures_this_machine(finished):
    done = command(finished.folder, *SMOKE, "--cores", "1", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["study"], said["workers"], said["trainings"], said["done"]) == ("smoke", 1, 16, 16)
    metrics = next((finished.folder / "results").rglob("metrics.json"))
    assert said["device"] == json.loads(metrics.read_text())["device"]
    (rates,) = said["rates"]
    assert rates["model"] == "lenet-300-100"
    assert all(0 < s < 0.1 for s in rates["image_s"].values())
    assert rates["image_macs"]["0"] == 563_400
    assert 0.1 < rates["start_s"] < 100
    assert said["dense"]["seconds"] > 16 * rates["start_s"]
    assert not list(finished.folder.glob("sdd-plan-*"))


def test_a_calibration_that_fails_says_why(smoke):
    recipe = smoke["recipes"]["lenet-300-100"] | {"learning_rate": 1000, "weight_decay": 1000}
    smoke["recipes"]["lenet-300-100"] = recipe
    chain = next(iter(planned(smoke).chains.values()))
    with pytest.raises(CalibrationError, match=r"learning rate 1000"):
        calibration.calibrate(
            chain, 3, device="cpu", sharing=1, deterministic=False, side_by_side=1
        )


@pytest.mark.parametrize("cores", ["0", "-1", "many"])
def test_no_cores_are_refused(workflow, cores):
    done = command(workflow.folder, "--cores", cores)
    assert done.returncode == 2 and "is no number of cores" in done.stderr


def test_a_gpu_that_is_not_there_is_told_by_the_first_training(smoke, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CalibrationError, match="device: cuda, but torch and nvidia-smi find no"):
        calibration.measure(planned(smoke | {"device": "cuda"}), 2, lambda line: None)


def test_a_bad_config_is_told_before_anything_is_measured(workflow):
    (workflow.folder / "bad.yaml").write_text("recipes: {lenet-300-100: {epochs: 10}}\n")
    done = command(workflow.folder, "--configfile", "bad.yaml")
    assert done.returncode == 1 and done.stdout == ""
    assert "error: recipes.lenet-300-100.milestones: 20 is beyond the last epoch" in done.stderr
    assert "Traceback" not in done.stderr and "Training" not in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read as a config"), ("a: [", "cannot be read"), ("- a", "holds no keys")],
)
def test_a_file_that_is_no_config_is_named(tmp_path, content, said):
    path = tmp_path / "overlay.yaml"
    if content:
        path.write_text(content)
    with pytest.raises(StudyError, match=r"overlay\.yaml.*" + said):
        read([path], base=ROOT / "config.yaml")
    with pytest.raises(StudyError, match=r"There is no .*nothing\.yaml"):
        read([], base=tmp_path / "nothing.yaml")
