"""Which round of a chain becomes the teacher. Looks at validation data only.

A rule takes the validation accuracies of a chain's trained rounds, in percent, densest first, and
how many images each was measured on; it returns the index of the one that teaches.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdd.base import names
from sdd.base.errors import DataError
from sdd.base.layout import round_name
from sdd.base.records import to_dict
from sdd.study.methods import SELECTIONS
from sdd.study.metrics import RoundMetrics, read_metrics

RUNNERS_UP = 3


def best(validation: Sequence[float], images: int) -> int:
    """The best validation accuracy; ties go to the sparser round."""
    return max(range(len(validation)), key=lambda i: (validation[i], i))


def one_standard_error(validation: Sequence[float], images: int) -> int:
    """The sparsest round within one standard error of the best validation accuracy.

    Breiman et al. (1984): what is no better than chance does not count as better.
    """
    highest = max(validation)
    least = highest - standard_error(highest, images)
    return max(i for i, accuracy in enumerate(validation) if accuracy >= least)


def standard_error(accuracy: float, images: int) -> float:
    """Of an accuracy in percent measured on so many images: the binomial one, in points."""
    return math.sqrt(accuracy * (100 - accuracy) / images)


@dataclass(frozen=True)
class Candidate:
    """A round that was trained, and so may teach; sparsity and accuracy in percent."""

    round: int
    sparsity: float
    validation_accuracy: float

    @classmethod
    def of(cls, metrics: RoundMetrics) -> "Candidate":
        # Only a round that was not trained lacks these.
        assert metrics.sparsity is not None and metrics.validation.accuracy is not None
        return cls(metrics.round, metrics.sparsity, metrics.validation.accuracy)


@dataclass(frozen=True)
class TeacherChoice:
    """The chosen round, and the best of the others: `teacher.json`."""

    chain: str
    round: int
    sparsity: float
    validation_accuracy: float
    reason: str
    weights_sha256: str
    runners_up: tuple[Candidate, ...]

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self)


def read_candidates(paths: Sequence[Path]) -> list[RoundMetrics]:
    """The rounds of a chain, whose metrics lie at `paths`, in order.

    Raises DataError, naming the file, for one that is damaged, or not the round of its place.
    """
    rounds: list[RoundMetrics] = []
    for number, path in enumerate(paths):
        metrics = read_metrics(path)
        place = f"{metrics.spec.chain}/{round_name(number)}"
        right = metrics.round == number and path.parent.as_posix().endswith(place)
        if not right or (rounds and metrics.spec.follows(rounds[-1].spec)):
            raise DataError(
                f"{path} is of round {metrics.round} of {metrics.spec.chain}, or with other "
                "settings than its place says. Delete it and run snakemake again."
            )
        rounds.append(metrics)
    return rounds


def select_teacher(rounds: Sequence[RoundMetrics], rule: str, images: int) -> TeacherChoice:
    """The one among a chain's `rounds` that a rule chooses, by accuracies on so many `images`."""
    choose = names.load(SELECTIONS[rule].function)
    trained = {Candidate.of(metrics): metrics for metrics in rounds if metrics.ended is None}
    candidates = sorted(trained, key=lambda c: c.round)
    chosen = candidates.pop(choose([c.validation_accuracy for c in candidates], images))
    candidates.sort(key=lambda c: (c.validation_accuracy, c.round), reverse=True)
    return TeacherChoice(
        chain=rounds[-1].spec.chain,  # the dense one may lie under another path
        round=chosen.round,
        sparsity=chosen.sparsity,
        validation_accuracy=chosen.validation_accuracy,
        reason=SELECTIONS[rule].meaning,
        weights_sha256=trained[chosen].weights_sha256,
        runners_up=tuple(candidates[:RUNNERS_UP]),
    )
