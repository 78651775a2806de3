"""The specs of trainings: everything that one job depends on beside its input files, and no more.

Never the number of rounds, the seeds or the experiments of a study: extending the sweep must
retrain nothing. A spec is the one param of its rule, the job's argument, and it is stored with the
result.
"""

from dataclasses import dataclass, replace
from typing import Any

from sdd.base.records import from_dict, to_dict
from sdd.data.settings import LabelsSpec
from sdd.study.settings import Distillation, EarlyStopping, Pruning, Recipe, Rewinding


@dataclass(frozen=True)
class TeacherSpec:
    """Which round of which chain a teacher must be: its dense one, or the one that was chosen.

    Of one from outside `chain` is its place, and `content` the sha256 of the file of its weights.
    """

    chain: str
    which: str
    content: str | None = None
    dense_chain: str | None = None  # under which the dense round lies, if not under `chain`

    def to_dict(self) -> dict[str, Any]:
        return {key: value for key, value in to_dict(self).items() if value is not None}

    def holds(self, chain: str, round: int) -> bool:
        """Whether a round that lies under the path `chain` is one of the teacher's chain."""
        return chain == (self.chain if round else self.dense_chain or self.chain)


@dataclass(frozen=True)
class OutsideSpec:
    """A teacher from outside: of which model, for which images, and what its file holds."""

    place: str
    model: str
    shape: tuple[int, int, int]  # channels, height, width
    classes: int
    content: str  # its sha256
    build: str | None = None  # module:function of a model of the user's own
    code: str | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "OutsideSpec":
        return from_dict(cls, values)

    def to_dict(self) -> dict[str, Any]:
        return {key: value for key, value in to_dict(self).items() if value is not None}


@dataclass(frozen=True)
class ModelSpec:
    """A model that is checked before it is trained: for which images, and what must be in it."""

    model: str
    shape: tuple[int, int, int]  # channels, height, width
    classes: int
    keep: tuple[str, ...]  # layers that are never pruned
    build: str | None = None  # module:function of a model of the user's own
    code: str | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelSpec":
        return from_dict(cls, values)

    def to_dict(self) -> dict[str, Any]:
        return {key: value for key, value in to_dict(self).items() if value is not None}


@dataclass(frozen=True)
class RoundSpec:
    """One round of a chain. What prunes and retrains belongs to the rounds after the dense one.

    `labels` and `teacher` say what a job's input files must hold: a file that is whole may still
    be another chain's.
    """

    chain: str
    round: int
    model: str
    recipe: Recipe
    seed: int
    pruning: Pruning | None = None
    retraining: str | None = None
    distillation: Distillation | None = None
    early_stopping: EarlyStopping | None = None  # the rule, where it ends chains
    build: str | None = None  # module:function of a model of the user's own
    labels: LabelsSpec | None = None  # None where any labels and data set will do
    teacher: TeacherSpec | None = None
    code: str | None = None
    dense_recipe: Recipe | None = None  # of round 0, where this round has another
    rewinding: Rewinding | None = None  # which weights the dense round stores beside its last ones
    dense_chain: str | None = None  # under whose path round 0 lies, if not under `chain`

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RoundSpec":
        return from_dict(cls, values)

    def to_dict(self) -> dict[str, Any]:
        values = to_dict(self) | {"recipe": self.recipe.to_dict()}
        if self.dense_recipe:
            values["dense_recipe"] = self.dense_recipe.to_dict()
        if self.labels:
            values["labels"] = self.labels.to_dict()
        if self.teacher:
            values["teacher"] = self.teacher.to_dict()
        return {key: value for key, value in values.items() if value is not None}

    @property
    def parent(self) -> int | None:
        """The round that this one prunes; None for the dense one."""
        if self.pruning is None:
            return None
        return 0 if self.pruning.schedule == "one-shot" else self.round - 1

    def next(self) -> "RoundSpec":
        """Of the round after it, which is not the dense one's."""
        return replace(self, round=self.round + 1)

    def follows(self, before: "RoundSpec") -> list[str]:
        """The keys that keep `before` from being the spec of the round that this one prunes.

        The code may differ: the workflow has compared it, if it was asked to.
        """
        expected = replace(self, round=self.parent or 0)
        if self.parent == 0:  # the dense round knows nothing of pruning
            expected = replace(
                expected, chain=self.dense_chain or self.chain, dense_chain=None,
                recipe=self.dense_recipe or self.recipe, dense_recipe=None,
                pruning=None, retraining=None, early_stopping=None,
            )  # fmt: skip
        mine, its = (replace(spec, code=None).to_dict() for spec in (expected, before))
        return [key for key in {**mine, **its} if mine.get(key) != its.get(key)]


@dataclass(frozen=True)
class SelectionSpec:
    """How a chain's teacher is chosen: by a rule of `sdd.study.methods.SELECTIONS`."""

    rule: str
    validation_images: int  # behind each accuracy
    code: str | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SelectionSpec":
        return from_dict(cls, values)

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self)


@dataclass(frozen=True)
class TeacherLogitsSpec:
    """The logits of a frozen teacher for every image under every outcome of an augmentation."""

    augmentation: str
    labels: LabelsSpec | None = None  # None where any will do, as with the teacher
    teacher: TeacherSpec | None = None
    code: str | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TeacherLogitsSpec":
        return from_dict(cls, values)

    def to_dict(self) -> dict[str, Any]:
        teacher = {"teacher": self.teacher.to_dict()} if self.teacher else {}
        return to_dict(self) | teacher
