"""Which round of a chain becomes the teacher. Looks at validation data only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdd.base.records import to_dict
from sdd.study.metrics import RoundMetrics

REASON = "best validation accuracy; ties go to the sparser round"
RUNNERS_UP = 3


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
    """The chosen round, and the next best: `teacher.json`."""

    chain: str
    round: int
    sparsity: float
    validation_accuracy: float
    reason: str
    weights_sha256: str
    runners_up: tuple[Candidate, ...]

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self)


def select_teacher(rounds: Sequence[RoundMetrics]) -> TeacherChoice:
    """The best among a chain's `rounds`: by validation accuracy, and of equal ones the sparser."""
    trained = {Candidate.of(metrics): metrics for metrics in rounds if metrics.ended is None}
    best, *others = sorted(trained, key=lambda c: (c.validation_accuracy, c.round), reverse=True)
    return TeacherChoice(
        chain=trained[best].spec.chain,
        round=best.round,
        sparsity=best.sparsity,
        validation_accuracy=best.validation_accuracy,
        reason=REASON,
        weights_sha256=trained[best].weights_sha256,
        runners_up=tuple(others[:RUNNERS_UP]),
    )
