"""Chains: one model's life in one setting, and what teaches it."""

from dataclasses import dataclass, field
from typing import ClassVar

from sdd.base import names
from sdd.data.datasets import Dataset
from sdd.data.settings import LabelsSpec, Noise, Validation
from sdd.models import names as models
from sdd.study.methods import DENSE, OUTSIDE
from sdd.study.settings import (
    PLACES,
    Distillation,
    EarlyStopping,
    FineTuning,
    Pruning,
    Recipe,
    Rewinding,
)
from sdd.study.specs import ModelSpec, OutsideSpec, RoundSpec, TeacherSpec


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
    dense_objective: str  # the same without what prunes and retrains
    early_stopping: EarlyStopping | None = None  # the rule, where it really ends chains
    build: str | None = None  # module:function of a model of the user's own
    validation: Validation = field(default_factory=Validation)
    rewinding: Rewinding | None = None  # which weights its dense round stores beside its last ones
    fine_tuning: FineTuning | None = None  # how its rounds are trained, if not as the dense one

    @property
    def path(self) -> str:
        return self._path(self.objective)

    @property
    def dense_path(self) -> str:
        """Where its dense round lies, which is trained once for all chains that share this path:
        they differ in how they are pruned and retrained, of which it knows nothing."""
        return self._path(self.dense_objective)

    def path_of(self, round: int) -> str:
        """The chain's path under which a round lies."""
        return self.path if round else self.dense_path

    def _path(self, objective: str) -> str:
        data, noise = self.data.title, self.noise.name
        return f"{data}/{noise}/{self.model}/{objective}/seed{self.seed}"

    @property
    def dataset(self) -> str:
        """The name of its data set, as it is prepared: a subset is taken of it by the labels."""
        return self.data.name

    @property
    def builder(self) -> str:
        """The module that builds its model, as named in an import."""
        return _builder(self.model, self.build)

    @property
    def model_place(self) -> str | None:
        """Where the check of its model lies; None where nothing can be wrong with it: it is a known
        one, and no layer of it is called by a name."""
        named = set(self.pruning.keep) - {*PLACES}
        return f"{self.data.name}/{self.model}" if self.build or named else None

    @property
    def model_spec(self) -> ModelSpec:
        """What is checked of its model, but for the code that does."""
        keep = self.pruning.keep
        return ModelSpec(self.model, self.data.shape, self.data.classes, keep, self.build)

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
            chain=self.path_of(round),
            round=round,
            model=self.model,
            build=self.build,
            recipe=recipe,
            dense_chain=_other_than(self.path, self.dense_path) if retrained else None,
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
        return f"{self._source}/{self.which}"

    @property
    def _source(self) -> str:
        """A dense round teaches the same whichever of the chains it is taken from that share it."""
        return self.chain.path if self.chosen else self.chain.dense_path

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
    def dense_objective(self) -> str:
        """By which the dense rounds of its students call it."""
        return self.chain.objective if self.chosen else self.chain.dense_objective

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
        dense = _other_than(self._source, self.chain.dense_path)
        return TeacherSpec(self._source, self.which, dense_chain=dense)


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
    def dense_objective(self) -> str:
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


def _other_than(path: str, dense: str) -> str | None:
    """The path of a dense round where it is not the chain's own."""
    return None if dense == path else dense


def _builder(model: str, build: str | None) -> str:
    return names.module(build) if build else models.module(model)
