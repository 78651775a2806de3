"""How far a study has come: which of its rounds are there, and fit what would be trained now."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sdd.analysis.selection import TeacherChoice
from sdd.base.errors import DataError
from sdd.base.files import read_record
from sdd.data.facts import read_facts, read_label_facts
from sdd.study.chains import Chain, OutsideTeacher
from sdd.study.metrics import (
    Hashes,
    OutsideFacts,
    RoundMetrics,
    TeacherLogitsFacts,
    read_metrics,
)
from sdd.study.study import Study

Finished = Mapping[str, list[RoundMetrics]]


def finished(study: Study) -> dict[str, list[float]]:
    """The validation accuracies of each chain's rounds that need not be trained again, by path.

    They lie in the study's folder and were made for the spec that this config and this code give,
    from the data, labels and rounds that lie there now; so was all that they build on.
    """
    rounds: dict[str, list[RoundMetrics]] = {}
    for path, chain in study.chains.items():  # teachers before their students
        rounds[path] = []
        inputs = _inputs(study, chain, rounds)
        if inputs is None:
            continue
        for number in study.rounds:
            metrics = _metrics(Path(study.files(chain, number).facts))
            if metrics is None or metrics.spec != study.round_spec(chain, number):
                break
            if metrics.inputs != inputs:
                break
            rounds[path].append(metrics)
            inputs = replace(inputs, parent=metrics.weights_sha256)
    return {path: [_accuracy(metrics) for metrics in found] for path, found in rounds.items()}


def _accuracy(metrics: RoundMetrics) -> float:
    """NaN for a round that early stopping left out."""
    accuracy = metrics.validation.accuracy
    return math.nan if accuracy is None else accuracy


def _inputs(study: Study, chain: Chain, finished: Finished) -> Hashes | None:
    """What the dense round of a chain is made from; None where something is still to be made."""
    try:
        facts = read_facts(Path(study.dataset(chain.data).facts))
        if facts.content != chain.data.content:  # the user's own has changed since
            return None
        dataset = facts.sha256
        labels = read_label_facts(Path(study.layout.labels(chain.labels).facts))
        if labels.spec != study.labels_spec(chain.labels) or labels.dataset_sha256 != dataset:
            return None
        hashes = Hashes(dataset, labels.sha256)
        return _taught(study, chain, finished, hashes) if chain.teacher else hashes
    except DataError:  # missing or damaged: it is made again
        return None


def _taught(study: Study, chain: Chain, finished: Finished, hashes: Hashes) -> Hashes | None:
    """The same with the chain's teacher, or its logits. Raises DataError for a missing file."""
    weights = _teacher_weights(study, chain, finished)
    if weights is None:
        return None
    if not study.tabulated(chain):
        return replace(hashes, teacher=weights)
    logits = read_record(Path(study.teacher_logits(chain).facts), TeacherLogitsFacts)
    spec = study.teacher_logits_spec(chain.teacher, chain.recipe.augmentation)
    made_from = logits.spec, logits.teacher_sha256, logits.labels_sha256
    if made_from != (spec, weights, hashes.labels):
        return None
    return replace(hashes, teacher_logits=logits.sha256)


def _teacher_weights(study: Study, student: Chain, finished: Finished) -> str | None:
    """The sha256 of its teacher's weights; None where they are still to be made, or adopted."""
    teacher = student.teacher
    if isinstance(teacher, OutsideTeacher):
        facts = Path(study.layout.outside_teacher(teacher.place).facts)
        adopted = read_record(facts, OutsideFacts)
        return adopted.weights_sha256 if adopted.spec == study.outside_spec(teacher.place) else None
    there = finished[teacher.chain.path]
    number = 0
    if teacher.chosen:
        if len(there) < len(study.rounds):
            return None
        number = read_record(Path(study.layout.choice(teacher.path)), TeacherChoice).round
    return there[number].weights_sha256 if number < len(there) else None


def _metrics(path: Path) -> RoundMetrics | None:
    """None where the file is missing or damaged: the round is then made again."""
    try:
        return read_metrics(path)
    except DataError:
        return None
