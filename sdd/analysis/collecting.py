"""From the rounds' metrics to one table: a row for every round of every experiment's chains."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from sdd.analysis import collected
from sdd.analysis.selection import select_teacher
from sdd.analysis.specs import CollectSpec
from sdd.base import layout
from sdd.base.errors import DataError
from sdd.base.files import read_record
from sdd.machine.reading import EnergyReading
from sdd.study import outside
from sdd.study.chains import Chain, OutsideTeacher, Teacher
from sdd.study.config import StudyConfig
from sdd.study.metrics import (
    Diagnostics,
    RoundMetrics,
    TeacherLogitsCost,
    TeacherLogitsFacts,
    read_metrics,
)
from sdd.study.study import Study

Row = dict[str, Any]


def collect(spec: CollectSpec, first: Path, output: Path) -> None:
    """Writes rounds.csv for the study in `spec`, from the metrics of all of its rounds.

    `first` is the dense round of its first chain; the others lie beside it as in any study. A
    chain that two experiments share stands in the table once for each. Not measured stays empty.
    """
    config = StudyConfig.from_dict(spec.config)
    study = Study.of(config, spec.datasets, outside.settled(config))
    root = layout.root(first, study.files(next(iter(study.chains.values())), 0).facts)
    found = Collection.read(study, root)
    rows = [
        row(found, experiment, chain, metrics, spec.carbon_intensity)
        for experiment, chains in study.experiments.items()
        for chain in chains
        for metrics in found.rounds[chain.path]
    ]
    collected.write(output, pd.DataFrame(rows))


@dataclass(frozen=True)
class Collection:
    """What a study has left: rounds by their chain's path, teachers and their logits by theirs.

    Teachers from outside are no rounds: nothing is known of them but what their logits took.
    """

    study: Study
    rounds: dict[str, list[RoundMetrics]]
    teachers: dict[str, RoundMetrics]
    logits: dict[str, tuple[TeacherLogitsFacts, TeacherLogitsCost]]

    @classmethod
    def read(cls, study: Study, root: Path) -> "Collection":
        """Raises DataError, naming the file, for one that is missing or of another training."""
        rounds = {
            path: [_metrics(root / study.files(chain, n).facts, chain, n) for n in study.rounds]
            for path, chain in study.chains.items()
        }
        teachers = {}
        for path, teacher in study.teachers.items():
            if isinstance(teacher, OutsideTeacher):
                continue
            candidates = rounds[teacher.chain.path]
            # Chosen again instead of read from teacher.json: Snakemake would go through all of
            # these inputs anew whenever one of them, the output of a checkpoint, has been made.
            teachers[path] = candidates[0]
            if teacher.chosen:
                rule = study.selection_spec(teacher)
                choice = select_teacher(candidates, rule.rule, rule.validation_images)
                teachers[path] = candidates[choice.round]
        logits = {
            files.facts: _logits(root, files, student, teachers.get(student.teacher.path))
            for files, student in study.logits_users.items()
            if student.teacher
        }
        return cls(study, rounds, teachers, logits)


def _metrics(path: Path, chain: Chain, number: int) -> RoundMetrics:
    """A round's metrics without its epochs. Raises DataError where they are of another training."""
    metrics = read_metrics(path)
    if replace(metrics.spec, code=None) != chain.spec(number):
        raise DataError(
            f"{path} is of another training: round {metrics.round} of {metrics.spec.chain}, or "
            "with other settings. Delete it and run snakemake again."
        )
    return replace(metrics, history=())  # most of a file, and nothing of a row


def _logits(
    root: Path, files: layout.LogitsFiles, student: Chain, teacher: RoundMetrics | None
) -> tuple[TeacherLogitsFacts, TeacherLogitsCost]:
    """What is known of the logits of a student's teacher, a round unless it is from outside.

    Raises DataError where they are of another round, or of other weights from outside.
    """
    facts = read_record(root / files.facts, TeacherLogitsFacts)
    if teacher:
        same = facts.teacher_sha256 == teacher.weights_sha256
    else:
        same = facts.spec.teacher == student.teacher.spec
    if not same:
        raise DataError(
            f"{root / files.facts} is of {facts.named}, not of the chosen teacher. Delete it and "
            "run snakemake again."
        )
    cost = read_record(root / files.cost, TeacherLogitsCost)
    if cost.logits_sha256 not in (None, facts.sha256):
        raise DataError(
            f"{root / files.cost} is of other logits than {files.facts}. Delete both and run "
            "snakemake again."
        )
    return facts, cost


def row(
    found: Collection,
    experiment: str,
    chain: Chain,
    metrics: RoundMetrics,
    intensity: float | None,
) -> Row:
    """A row of rounds.csv; `intensity` is the study's g CO2 a kWh, where it sets one."""
    teacher, distillation = chain.teacher, chain.distillation
    source = teacher.chain if isinstance(teacher, Teacher) else None
    return {
        "study": found.study.name,
        "experiment": experiment,
        "chain": chain.path,
        "dataset": chain.data.title,
        "noise": chain.noise.name,
        "noise_rate": metrics.noise_rate,
        "model": chain.model,
        "weight_decay": chain.recipe.weight_decay,
        "teacher": teacher.which if teacher else "none",
        "teacher_chain": source.path if source else None,
        "teacher_round": found.teachers[teacher.path].round if source else None,
        "teacher_objective": teacher.objective if teacher else None,
        "teacher_model": teacher.model if teacher else None,
        **_logits_costs(found, chain, intensity),
        "alpha": distillation.alpha if distillation else None,
        "temperature": distillation.temperature if distillation else None,
        "seed": chain.seed,
        "round": metrics.round,
        "sparsity": metrics.sparsity,
        "weights_kept": metrics.weights_kept,
        "weights_total": metrics.weights_total,
        "train_accuracy": metrics.train.accuracy,
        "train_clean_accuracy": metrics.train_clean.accuracy,
        "validation_accuracy": metrics.validation.accuracy,
        "test_accuracy": metrics.test.accuracy,
        "train_loss": metrics.train.loss,
        "validation_loss": metrics.validation.loss,
        "test_loss": metrics.test.loss,
        "ended": metrics.ended,
        "epochs": metrics.spec.recipe.epochs,
        "macs": metrics.macs.forward_macs,
        "flops": metrics.flops,
        "flops_computed": metrics.flops_computed,
        "seconds": metrics.seconds,
        "energy_kwh": metrics.energy.energy_kwh,
        "co2_g": _grams(metrics.energy, intensity),
        "energy_method": metrics.energy.method,
        "device": metrics.device,
        "instruction_set": metrics.instruction_set,
        "validation_images": found.study.images(chain.data)[1],
        "criterion": chain.pruning.criterion,
        "scope": chain.pruning.scope,
        "retraining": chain.retraining,
        "schedule": chain.pruning.schedule,
        "keep": " ".join(chain.pruning.keep) or "none",
        **_diagnostics(metrics.diagnostics),
        "dense_chain": chain.dense_path,
    }


def _diagnostics(of: Diagnostics | None) -> Row:
    """What a round is like; by layer as JSON, the layers' names with percent or a number."""
    if of is None:
        names = ["learning_distance", "entropy", "calibration_error", "top5_accuracy"]
        return dict.fromkeys([*names, "layer_sparsity", "live_units"])
    layers = {layer.weight.removesuffix(".weight"): layer for layer in of.layers}
    return {
        "learning_distance": of.learning_distance,
        "entropy": of.entropy,
        "calibration_error": of.calibration_error,
        "top5_accuracy": of.top5_accuracy,
        "layer_sparsity": json.dumps(
            {name: round(100 * (1 - x.kept / x.total), 4) for name, x in layers.items()}
        ),
        "live_units": json.dumps({name: x.live_units for name, x in layers.items()}),
    }


def _logits_costs(found: Collection, chain: Chain, intensity: float | None) -> Row:
    """What the teacher's logits cost; empty where they were not tabulated."""
    costs: Row = dict.fromkeys(["flops", "seconds", "energy_kwh", "co2_g"])
    if chain.teacher and found.study.tabulated(chain):
        facts, spent = found.logits[found.study.teacher_logits(chain).facts]
        costs = {
            "flops": facts.flops,
            "seconds": spent.seconds,
            "energy_kwh": spent.energy.energy_kwh,
            "co2_g": _grams(spent.energy, intensity),
        }
    return {f"teacher_logits_{name}": value for name, value in costs.items()}


def _grams(energy: EnergyReading, intensity: float | None) -> float | None:
    """The CO2 of an energy reading, at the study's carbon intensity where it sets one."""
    kwh = energy.energy_kwh
    return kwh * intensity if kwh is not None and intensity is not None else energy.co2_g
