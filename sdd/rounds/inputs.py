"""What a round is made from, and whether its files are what they should be. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path

from sdd.base.errors import DataError
from sdd.base.files import read_record
from sdd.data.facts import check_dataset, check_labels, read_facts, read_label_facts
from sdd.rounds.teachers import Network, check_teacher, read_network_facts
from sdd.study.metrics import Hashes, TeacherLogitsFacts, read_metrics
from sdd.study.specs import RoundSpec


@dataclass(frozen=True)
class Inputs:
    """JSON files, each with its data beside it.

    `parent` are the metrics of the round before (None for round 0). `teacher` are those of the
    round, or the facts on the network from outside, that a student learns from: from its logits,
    `teacher_logits`, if there are any, else from itself. Without distillation both are None.
    `origin` are those of the dense round whose early weights this one goes back to.
    """

    dataset: Path
    labels: Path
    parent: Path | None = None
    teacher: Path | None = None
    teacher_logits: Path | None = None
    origin: Path | None = None

    def hashes(self) -> Hashes:
        """The sha256 of the data behind each; stored with a round, to tell what it came from."""
        logits = self.teacher_logits
        in_the_loop = self.teacher if logits is None else None
        return Hashes(
            dataset=read_facts(self.dataset).sha256,
            labels=read_label_facts(self.labels).sha256,
            parent=read_metrics(self.parent).weights_sha256 if self.parent else None,
            teacher=read_network_facts(in_the_loop).weights_sha256 if in_the_loop else None,
            teacher_logits=read_record(logits, TeacherLogitsFacts).sha256 if logits else None,
            origin=read_metrics(self.origin).weights_sha256 if self.origin else None,
        )

    def check(self, spec: RoundSpec) -> None:
        """Raises DataError, naming the file, for one that is not as `spec` says: a checksum proves
        that a file is whole, not whose it is. The parent is compared where it is read."""
        if spec.labels:
            check_dataset(self.dataset, spec.labels)
            check_labels(self.labels, spec.labels, self.dataset)
        if spec.teacher and self.teacher:
            teacher = check_teacher(self.teacher, spec.teacher)
            if self.teacher_logits:
                self._check_logits(self.teacher_logits, spec, teacher)

    def _check_logits(self, path: Path, spec: RoundSpec, teacher: Network) -> None:
        logits = read_record(path, TeacherLogitsFacts)
        wrong = [
            what
            for what, theirs, ours in (
                ("teacher", logits.teacher, teacher.chain),
                ("round of the teacher", logits.teacher_sha256, teacher.weights_sha256),
                ("labels", logits.labels_sha256, read_label_facts(self.labels).sha256),
                ("augmentation", logits.spec.augmentation, spec.recipe.augmentation),
            )
            if theirs != ours
        ]
        if wrong:
            raise DataError(
                f"{path} is of {logits.named}, which does not teach {spec.chain}: another "
                f"{', another '.join(wrong)}. Delete it and run snakemake again."
            )
