"""From metrics.json to rounds.csv."""

from pathlib import Path

import pandas as pd
import pytest
from conftest import chain_and_student
from synthetic import metrics

from sdd.analysis.collected import best_outcomes, chains, read
from sdd.analysis.collecting import collect
from sdd.analysis.specs import CollectSpec
from sdd.base.errors import DataError
from sdd.base.files import write_json
from sdd.base.records import to_dict
from sdd.machine.reading import EnergyReading
from sdd.report.catalogue import collect_spec
from sdd.study import validation
from sdd.study.metrics import Score, TeacherLogitsCost, TeacherLogitsFacts, write_metrics
from sdd.study.specs import TeacherLogitsSpec
from sdd.study.study import Study

COLUMNS = [
    "study", "experiment", "chain", "dataset", "noise", "noise_rate", "model", "weight_decay",
    "teacher", "teacher_chain", "teacher_round", "teacher_objective", "teacher_model",
    "teacher_logits_flops", "teacher_logits_seconds", "teacher_logits_energy_kwh",
    "teacher_logits_co2_g", "alpha", "temperature", "seed", "round", "sparsity",
    "weights_kept", "weights_total", "train_accuracy", "train_clean_accuracy",
    "validation_accuracy", "test_accuracy", "train_loss", "validation_loss", "test_loss",
    "ended", "epochs", "macs", "flops", "flops_computed", "seconds", "energy_kwh", "co2_g",
    "energy_method", "device", "instruction_set", "validation_images", "criterion", "scope",
    "retraining", "schedule",
    "keep", "learning_distance", "entropy", "calibration_error", "top5_accuracy",
    "layer_sparsity", "live_units", "dense_chain",
]  # fmt: skip
# The teacher's best is round 1; early stopping left the last round of each chain untrained.
VALIDATION = [70.0, 80.0, None]


@pytest.fixture
def study(config):
    config |= {"seeds": [1], "experiments": chain_and_student("best")}
    config["pruning"]["rounds"] = 2
    return Study.of(validation.validate(config))


@pytest.fixture
def root(study, tmp_path):
    """All that the study has left, made up."""
    for chain in study.chains.values():
        for number, accuracy in enumerate(VALIDATION):
            path = tmp_path / study.files(chain, number).facts
            write_metrics(path, metrics(chain.spec(number), accuracy))
    for files, student in study.logits_users.items():
        source = student.teacher.chain.path
        facts = TeacherLogitsFacts(
            TeacherLogitsSpec("none"), source, 1, f"weights of {source}, round 1", "labels",
            (3500, 1, 10), "float32", 500, "logits",
        )  # fmt: skip
        energy = EnergyReading(1e-6, 4e-4, "constant power", 445.0, 1.58, 35.0, 0.5, 0.25, None)
        write_json(tmp_path / files.facts, to_dict(facts))
        write_json(tmp_path / files.cost, to_dict(TeacherLogitsCost(0.25, energy, "cpu")))
    return tmp_path


def collected(study: Study, root: Path, intensity: float | None = None) -> pd.DataFrame:
    spec = CollectSpec.from_dict(collect_spec(study).to_dict() | {"carbon_intensity": intensity})
    first = root / study.files(next(iter(study.chains.values())), 0).facts
    collect(spec, first, root / "rounds.csv")
    return pd.read_csv(root / "rounds.csv")


@pytest.mark.parametrize("damage", ["a digit", "a row", "cut off", "empty", "no text", "missing"])
def test_a_damaged_table_of_rounds_is_refused(study, root, damage):
    collected(study, root)
    path = root / "rounds.csv"
    content = path.read_bytes()
    assert len(read(path)) == len(content.splitlines()) - 1
    path.unlink()
    damaged = {
        "a digit": content.replace(b"0.4", b"0.3", 1),
        "a row": content[: content.rindex(b"\n", 0, -1) + 1],
        "cut off": content[:-20],
        "empty": b"",
        "no text": b"\xff" + content,
    }
    if damage != "missing":
        path.write_bytes(damaged[damage])
    with pytest.raises(
        DataError, match=r"rounds\.csv .*run snakemake again|rounds\.csv is missing"
    ):
        read(path)


def test_a_row_a_round_with_all_columns(study, root):
    frame = collected(study, root)
    assert list(frame) == COLUMNS
    assert frame.experiment.tolist() == ["vanilla"] * 3 + ["distilled"] * 3
    assert frame["round"].tolist() == [0, 1, 2] * 2
    assert frame.validation_accuracy.tolist()[:2] == [70, 80]
    assert frame.ended.tolist()[2] == 1 and frame[frame["round"] == 2].sparsity.isna().all()
    plain, taught = frame[:3], frame[3:]
    assert plain.teacher.eq("none").all() and plain.filter(like="teacher_").isna().all(axis=None)
    assert taught.teacher_round.eq(1).all() and taught.teacher_chain.eq(plain.chain[0]).all()
    logits = taught.filter(like="teacher_logits_").iloc[0]
    assert logits.tolist() == [500, 0.25, 1e-6, 4e-4]
    assert frame.validation_images.eq(500).all()


def test_the_studys_own_carbon_intensity(study, root):
    before, after = (collected(study, root, intensity) for intensity in (None, 100.0))
    assert before.co2_g.eq(0.0089).all() and after.co2_g.eq(2e-5 * 100).all()
    assert after.teacher_logits_co2_g[3] == pytest.approx(1e-4)


def test_a_chain_of_two_experiments_stands_there_once_for_each(config, study, root):
    again = config["experiments"] + [config["experiments"][0] | {"name": "again"}]
    shared = Study.of(validation.validate(config | {"experiments": again}))
    assert collected(shared, root).experiment.value_counts().to_dict() == {
        "vanilla": 3, "distilled": 3, "again": 3,
    }  # fmt: skip


def test_a_shared_dense_round_stands_in_every_chain_and_names_where_it_lies(config, tmp_path):
    config |= {"seeds": [1], "experiments": chain_and_student("best")[:1]}
    config["experiments"][0]["criterion"] = ["random", "magnitude", "gradient"]
    config["pruning"]["rounds"] = 1
    study = Study.of(validation.validate(config))
    for chain, number in study.trainings:
        path = tmp_path / study.files(chain, number).facts
        write_metrics(path, metrics(chain.spec(number), 70.0 + number, flops=1000 + number))
    assert len(list(tmp_path.rglob("metrics.json"))) == 4
    frame = chains(collected(study, tmp_path))
    assert len(frame) == 6 and set(frame.dense_chain) == set(study.by_dense)
    # Each chain has cost what it would have alone; the study, every training once.
    spent = best_outcomes(frame).set_index("chain")
    assert spent.flops.eq(2001).all() and len(spent) == 3
    lies = frame.chain.where(frame["round"] > 0, frame.dense_chain)
    once = frame.assign(lies=lies).drop_duplicates(["lies", "round"])
    assert once.flops.sum() == 1000 + 3 * 1001
    # Older tables do not say: there every chain has its own.
    older = chains(collected(study, tmp_path).drop(columns="dense_chain"))
    assert older.dense_chain.equals(older.chain)


@pytest.mark.parametrize("change", [{"seed": 2}, {"round": 0}, {"retraining": "another"}])
def test_a_round_of_another_training_is_refused(study, root, change):
    chain = next(iter(study.chains.values()))
    path = root / study.layout.round(chain.path, 1).facts
    values = chain.spec(1).to_dict() | change
    write_metrics(path, metrics(type(chain.spec(1)).from_dict(values)))
    with pytest.raises(DataError, match=r"round01/metrics\.json is of another training"):
        collected(study, root)


def test_the_code_of_a_training_does_not_matter(study, root):
    chain = next(iter(study.chains.values()))
    path = root / study.layout.round(chain.path, 0).facts
    write_metrics(path, metrics(study.round_spec(chain, 0)))
    assert len(collected(study, root)) == 6


def test_logits_of_another_round_are_refused(study, root):
    chain = next(iter(study.chains.values()))
    path = root / study.layout.round(chain.path, 0).facts
    write_metrics(path, metrics(chain.spec(0), 90.0))  # now the best
    with pytest.raises(DataError, match=r"is of round 1 .* not of the chosen teacher"):
        collected(study, root)


def test_a_round_outside_of_a_study_is_refused(study, root):
    (root / "metrics.json").write_text("")
    spec = collect_spec(study)
    with pytest.raises(DataError, match="does not lie where a study keeps it"):
        collect(spec, root / "metrics.json", root / "rounds.csv")


def test_what_true_labels_would_say_stays_empty_without_them(study, root):
    chain = next(iter(study.chains.values()))
    path = root / study.layout.round(chain.path, 0).facts
    unknown = metrics(chain.spec(0), train_clean=Score(), noise_rate=None)
    write_metrics(path, unknown)
    frame = collected(study, root)
    assert list(frame) == COLUMNS
    assert frame.loc[0, ["noise_rate", "train_clean_accuracy"]].isna().all()
    assert frame.loc[1, "noise_rate"] == 0.4
