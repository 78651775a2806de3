"""What a round is made from. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path

from sdd.base.files import read_record
from sdd.data.facts import read_facts, read_label_facts
from sdd.study.metrics import Hashes, TeacherLogitsFacts, read_metrics


@dataclass(frozen=True)
class Inputs:
    """JSON files, each with its data beside it.

    `parent` are the metrics of the round before (None for round 0). A student learns from its
    teacher's logits, `teacher_logits`, or from the teacher itself, whose metrics are `teacher`;
    without distillation both are None.
    """

    dataset: Path
    labels: Path
    parent: Path | None = None
    teacher: Path | None = None
    teacher_logits: Path | None = None

    def hashes(self) -> Hashes:
        """The sha256 of the data behind each; stored with a round, to tell what it came from."""
        logits = self.teacher_logits
        return Hashes(
            dataset=read_facts(self.dataset).sha256,
            labels=read_label_facts(self.labels).sha256,
            parent=read_metrics(self.parent).weights_sha256 if self.parent else None,
            teacher=read_metrics(self.teacher).weights_sha256 if self.teacher else None,
            teacher_logits=read_record(logits, TeacherLogitsFacts).sha256 if logits else None,
        )
