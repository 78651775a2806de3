"""Chains: one model's life in one setting, and what teaches it."""

from dataclasses import dataclass, field
from typing import ClassVar

from sdd.base import names
from sdd.data.datasets import Dataset
from sdd.data.settings import LabelsSpec, Noise, Validation
from sdd.models import names as models
from sdd.study.methods import DENSE, OUTSIDE
from sdd.study.settings import (
    Distillation,
    EarlyStopping,
    FineTuning,
    Pruning,
    Recipe,
    Rewinding,
)
from sdd.study.specs import OutsideSpec, RoundSpec, TeacherSpec


@dataclass(frozen=True)
class Chain:
    """One model's life in one setting: algorithm 1 of the paper, once.

    `path` tells it apart from every other chain of the study, and is made for people.
    """

    data: Dataset
    noise: Noise
    model: str
    recipe: Recipe
    pruning: Pruning
    retraining: str
    distillation: Distillation | None
    teacher: "Teacher | OutsideTeacher | None"
    seed: int
    objective: str
    early_stopping: EarlyStopping | None = None  # the rule, where it really ends chains
    build: str | None = None  # module:function of a model of the user's own
    validation: Validation = field(default_factory=Validation)
    rewinding: Rewinding | None = None  # where its weights go back to, if not to the first ones
    fine_tuning: FineTuning | None = None  # how its rounds are trained, if not as the dense one

    @property
    def path(self) -> str:
        data, noise = self.data.title, self.noise.name
        return f"{data}/{noise}/{self.model}/{self.objective}/seed{self.seed}"

    @property
    def dataset(self) -> str:
        """The name of its data set, as it is prepared: a subset is taken of it by the labels."""
        return self.data.name

    @property
    def builder(self) -> str:
        """The module that builds its model, as named in an import."""
        return _builder(self.model, self.build)

    @property
    def labels(self) -> str:
        """The path of its noisy labels, shared with every chain of the same noise and seed."""
        return f"{self.data.title}/{self.noise.name}/seed{self.seed}"

    @property
    def labels_spec(self) -> LabelsSpec:
        """What its labels are, but for the code that makes them."""
        return LabelsSpec(self.noise, self.validation, self.seed, self.data.subset, self.dataset)

    def recipe_of(self, round: int) -> Recipe:
        return self.fine_tuning.of(self.recipe) if self.fine_tuning and round else self.recipe

    def spec(self, round: int) -> RoundSpec:
        """What the training of `round` depends on beside its input files and its code."""
        retrained, recipe = round > 0, self.recipe_of(round)
        return RoundSpec(
            chain=self.path,
            round=round,
            model=self.model,
            build=self.build,
            recipe=recipe,
            dense_recipe=None if recipe == self.recipe else self.recipe,
            rewinding=self.rewinding,
            seed=self.seed,
            pruning=self.pruning if retrained else None,
            retraining=self.retraining if retrained else None,
            distillation=self.distillation,
            early_stopping=self.early_stopping if retrained else None,
            labels=self.labels_spec,
            teacher=self.teacher.spec if self.teacher else None,
        )


@dataclass(frozen=True)
class Teacher:
    """A round of another chain: its dense model, or one that is chosen on validation data."""

    chain: Chain
    which: str  # of sdd.study.methods.TEACHERS

    @property
    def chosen(self) -> bool:
        """Whether all rounds of its chain must be there before one knows which it is."""
        return self.which != DENSE

    @property
    def path(self) -> str:
        return f"{self.chain.path}/{self.which}"

    @property
    def model(self) -> str:
        return self.chain.model

    @property
    def builder(self) -> str:
        return self.chain.builder

    @property
    def objective(self) -> str:
        return self.chain.objective

    @property
    def data(self) -> Dataset:
        """Which its students share with it, as they do its labels."""
        return self.chain.data

    @property
    def labels(self) -> str:
        return self.chain.labels

    @property
    def labels_spec(self) -> LabelsSpec:
        return self.chain.labels_spec

    @property
    def spec(self) -> TeacherSpec:
        return TeacherSpec(self.chain.path, self.which)


@dataclass(frozen=True)
class OutsideTeacher:
    """A network that was trained elsewhere, from a file of weights: what it cost nobody knows.

    `content` is the sha256 of that file, wherever it lies. The rest is its students': on which
    images, and with which labels, it is asked.
    """

    name: str
    model: str
    build: str | None
    content: str
    data: Dataset
    labels: str
    labels_spec: LabelsSpec
    which: str = OUTSIDE
    chosen: ClassVar[bool] = False

    @property
    def place(self) -> str:
        """Where it is adopted, once for all noises and seeds."""
        return f"{self.data.name}/{self.model}/{self.name}"

    @property
    def path(self) -> str:
        title, noise, seed = self.labels.split("/")
        return f"{title}/{noise}/{self.model}/{self.name}/{seed}/{self.which}"

    @property
    def builder(self) -> str:
        return _builder(self.model, self.build)

    @property
    def objective(self) -> str:
        """What stands in its place: nobody knows what it was trained for."""
        return self.name

    @property
    def spec(self) -> TeacherSpec:
        return TeacherSpec(self.place, self.which, self.content)

    @property
    def outside_spec(self) -> OutsideSpec:
        """What it is, but for the code that adopts it."""
        return OutsideSpec(
            self.place, self.model, self.data.shape, self.data.classes, self.content, self.build
        )


def _builder(model: str, build: str | None) -> str:
    return names.module(build) if build else models.module(model)
