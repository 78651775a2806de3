"""A study: from one config to its chains, their files, and the specs of their jobs. Pure."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from sdd.base import fingerprint, layout, names
from sdd.base.errors import StudyError
from sdd.base.layout import Files, Layout, LogitsFiles
from sdd.data.datasets import DATASETS, Dataset
from sdd.data.noise_kinds import KINDS
from sdd.data.settings import DatasetSpec, LabelsSpec
from sdd.study.chains import Chain, OutsideTeacher, Teacher
from sdd.study.config import MOST_ROUNDS, RUN_KEYS, Request, StudyConfig
from sdd.study.grids import expand
from sdd.study.methods import CRITERIA, INITIALISATIONS, RETRAININGS, SELECTIONS
from sdd.study.settings import OUTCOMES
from sdd.study.specs import ModelSpec, OutsideSpec, RoundSpec, SelectionSpec, TeacherLogitsSpec

# What collecting depends on: the keys that decide which chains exist and how they are called.
CHAIN_KEYS = (
    "study", "seeds", "experiments", "models", "recipes", "pruning", "retraining", "rewinding",
    "fine_tuning", "validation", "distillation",
)  # fmt: skip


class Demand(NamedTuple):
    """What a job asks of a scheduler."""

    minutes: int
    memory_mb: int


@dataclass(frozen=True)
class Study:
    """One config, made sure to be runnable: build it with `Study.of`."""

    config: StudyConfig
    experiments: Mapping[str, tuple[Chain, ...]]
    datasets: Mapping[str, Dataset]
    contents: Mapping[str, str] = field(default_factory=dict)  # of files of weights

    @classmethod
    def of(
        cls,
        config: StudyConfig,
        own: Mapping[str, Dataset] | None = None,
        contents: Mapping[str, str] | None = None,
    ) -> "Study":
        """`own` are the data sets that stand in the config (`sdd.study.data_entries.survey`), and
        `contents` what its teachers from outside are (`sdd.study.outside.survey`).

        Raises StudyError, naming the key, its value and what is allowed.
        """
        datasets, contents = {**DATASETS, **(own or {})}, contents or {}
        study = cls(config, expand(config, datasets, contents), datasets, contents)
        if study.last_round > MOST_ROUNDS:
            pruning = config.pruning
            raise StudyError(
                f"pruning.fraction: with {pruning.fraction:g} of the remaining weights a round it "
                f"takes {study.last_round:,} rounds to get above final_sparsity "
                f"{pruning.final_sparsity:g}; {MOST_ROUNDS:,} is the limit. Take a larger "
                "fraction, or set pruning.rounds."
            )
        return study

    @property
    def name(self) -> str:
        return self.config.study

    @property
    def layout(self) -> Layout:
        return Layout(self.name)

    # --- Chains and rounds ---

    @property
    def last_round(self) -> int:
        """An index: a chain has one training more, the dense one."""
        pruning = self.config.pruning
        return pruning.rounds or last_round(pruning.fraction, pruning.final_sparsity)

    @property
    def rounds(self) -> range:
        """Those of each chain, the dense one included."""
        return range(self.last_round + 1)

    @cached_property
    def chains(self) -> dict[str, Chain]:
        """Every chain once, by path, teachers before their students."""
        return {chain.path: chain for chains in self.experiments.values() for chain in chains}

    @cached_property
    def by_dense(self) -> dict[str, Chain]:
        """The first chain of each dense round, by this round's path: the others share it."""
        return {chain.dense_path: chain for chain in reversed(self.chains.values())}

    @cached_property
    def by_path(self) -> dict[str, Chain]:
        """A chain for every path under which rounds lie."""
        return self.by_dense | self.chains

    def trains(self, chain: Chain, round: int) -> bool:
        """Whether a round counts as this chain's training: a shared dense one does in the first."""
        return round > 0 or self.by_dense[chain.dense_path] is chain

    @property
    def trainings(self) -> Iterator[tuple[Chain, int]]:
        """Every round that is trained, once, with its chain."""
        every = itertools.product(self.chains.values(), self.rounds)
        return ((chain, round) for chain, round in every if self.trains(chain, round))

    @property
    def count(self) -> int:
        """How many trainings there are."""
        return len(self.by_dense) + self.last_round * len(self.chains)

    def files(self, chain: Chain, round: int) -> Files:
        """Of a round of a chain, wherever it lies."""
        return self.layout.round(chain.path_of(round), round)

    @cached_property
    def teachers(self) -> dict[str, Teacher | OutsideTeacher]:
        """Every teacher that some chain learns from, by path."""
        return {c.teacher.path: c.teacher for c in self.chains.values() if c.teacher}

    @cached_property
    def outside_teachers(self) -> dict[str, OutsideTeacher]:
        """Those from outside, by the place where they are adopted."""
        found = (t for t in self.teachers.values() if isinstance(t, OutsideTeacher))
        return {teacher.place: teacher for teacher in found}

    @property
    def early_stopping_ends_chains(self) -> bool:
        return self.config.early_stopping.ends_chains

    # --- Data sets ---

    def dataset(self, data: Dataset) -> Files:
        """Where it lies once it is prepared: the user's own belongs to the study."""
        return self.layout.own_dataset(data.name) if data.own else layout.dataset(data.name)

    def images(self, data: Dataset) -> tuple[int, int, int]:
        """How many images a round on it trains on, validates on and tests on."""
        return (*data.split(self.config.validation.fraction), data.test)

    # --- Models ---

    @cached_property
    def checked_models(self) -> dict[str, Chain]:
        """A chain of each model that is checked before it is trained, by the check's place."""
        return {chain.model_place: chain for chain in self.chains.values() if chain.model_place}

    # --- Teacher logits ---

    def logits_bytes(self, data: Dataset, augmentation: str) -> int:
        """The size of a file of teacher logits."""
        images, _, _ = self.images(data)
        # See sdd.rounds.teacher_logits: in half precision where there are many outcomes.
        number = 4 if augmentation == "none" else 2
        return images * OUTCOMES[augmentation] * data.classes * number

    def tabulated(self, student: Chain) -> bool:
        """Whether its teacher's logits are looked up; else the teacher is in the loop."""
        size = self.logits_bytes(student.data, student.recipe.augmentation)
        return size <= 1e9 * self.config.distillation.largest_table

    def teacher_logits(self, student: Chain) -> LogitsFiles:
        """The logits that it looks up, shared with its fellow students."""
        assert student.teacher
        return self.layout.teacher_logits(student.teacher.path, student.recipe.augmentation)

    @cached_property
    def logits_users(self) -> dict[LogitsFiles, Chain]:
        """All files of teacher logits, with one of the students that look them up."""
        return {
            self.teacher_logits(chain): chain
            for chain in self.chains.values()
            if chain.teacher and self.tabulated(chain)
        }

    # --- The specs of jobs, with the code that each runs ---

    def dataset_spec(self, name: str) -> DatasetSpec:
        data = self.datasets[name]
        code = fingerprint.code("sdd.stages.prepare_dataset", names.module(data.reader))
        return DatasetSpec(name, data.own, data.image_size, data.content, code)

    def model_spec(self, place: str) -> ModelSpec:
        """Of the check of a model at this place."""
        chain = self.checked_models[place]
        return replace(
            chain.model_spec, code=fingerprint.code("sdd.stages.check_model", chain.builder)
        )

    def labels_spec(self, labels: str) -> LabelsSpec:
        """Of the labels at this path."""
        chain = self.by_labels[labels]
        kind = names.module(KINDS[chain.noise.kind].function)
        code = fingerprint.code("sdd.stages.noisy_labels", kind)
        return replace(chain.labels_spec, code=code)

    def round_spec(self, chain: Chain, round: int) -> RoundSpec:
        return replace(chain.spec(round), code=self._round_code(chain, retrained=round > 0))

    def round_values(self, chain: Chain, round: int) -> dict[str, Any]:
        """The same as JSON has it. Made once for all rounds of a chain but the dense one, which
        differ in their number only: thousands of them are planned."""
        key = chain.path, round > 0
        if key not in self._values:
            self._values[key] = self.round_spec(chain, round).to_dict()
        return self._values[key] | {"round": round}

    @cached_property
    def _values(self) -> dict[tuple[str, bool], dict[str, Any]]:
        return {}

    def _round_code(self, chain: Chain, retrained: bool) -> str:
        drawn = names.module(INITIALISATIONS[chain.recipe.initialisation])
        modules = ["sdd.stages.train_round", chain.builder, drawn]
        if chain.teacher:
            modules.append(chain.teacher.builder)
        if retrained:
            modules.append(names.module(CRITERIA[chain.pruning.criterion]))
            modules.append(names.module(RETRAININGS[chain.retraining]))
        return fingerprint.code(*modules)

    def selection_spec(self, teacher: Teacher) -> SelectionSpec:
        """Of a teacher that is chosen."""
        _, validation, _ = self.images(teacher.chain.data)
        rule = names.module(SELECTIONS[teacher.which].function)
        code = fingerprint.code("sdd.stages.select_teacher", rule)
        return SelectionSpec(teacher.which, validation, code)

    def outside_spec(self, place: str) -> OutsideSpec:
        """Of the teacher from outside that is adopted at `place`."""
        teacher = self.outside_teachers[place]
        code = fingerprint.code("sdd.stages.adopt_teacher", teacher.builder)
        return replace(teacher.outside_spec, code=code)

    def teacher_logits_spec(
        self, teacher: Teacher | OutsideTeacher, augmentation: str
    ) -> TeacherLogitsSpec:
        code = fingerprint.code("sdd.stages.teacher_logits", teacher.builder)
        return TeacherLogitsSpec(augmentation, teacher.labels_spec, teacher.spec, code)

    @cached_property
    def by_labels(self) -> dict[str, Chain]:
        """One of the chains of each path of labels."""
        return {chain.labels: chain for chain in self.chains.values()}

    # --- Parts of the config ---

    @property
    def chain_config(self) -> dict[str, Any]:
        """The part that decides which chains exist and how they are trained.

        Files of weights are named by their content, wherever they lie.
        """
        rule = ("early_stopping",) if self.early_stopping_ends_chains else ()
        config = self.config.to_dict()
        for experiment in config["experiments"]:
            teacher = experiment.get("teacher", {})
            if "weights" in teacher:
                teacher["weights"] = self.contents[teacher["weights"]]
        return {key: config[key] for key in (*CHAIN_KEYS, *rule)}

    @property
    def own_datasets(self) -> dict[str, Dataset]:
        """What a job must be told of the data sets that stand in the config."""
        return {name: self.datasets[name] for name in self.config.datasets}

    @property
    def lasting_config(self) -> dict[str, Any]:
        """All but what only says how the study is run, on which no result depends."""
        config = self.config.to_dict()
        return {key: value for key, value in config.items() if key not in RUN_KEYS}

    # --- What jobs ask of a scheduler ---

    def request(self, chain: str) -> Demand:
        """What one round that lies under the path `chain` asks for."""
        return self._request(self.by_path[chain].model)

    def _request(self, model: str) -> Demand:
        usual = self.config.cluster["default"]
        own = self.config.cluster.get(model, Request())
        minutes, memory_mb = own.minutes or usual.minutes, own.memory_mb or usual.memory_mb
        assert minutes and memory_mb  # of the default, as sdd.study.validation makes sure
        return Demand(minutes, memory_mb)

    def logits_request(self, teacher: str, augmentation: str) -> Demand:
        """The same for the logits of the teacher at this path, which are made in memory.

        A pass costs a third of a training step, so they take as long as so many epochs. How many
        a round of its model has is not known of one from outside whose model has no recipe.
        """
        asked = self.teachers[teacher]
        request, recipe = self._request(asked.model), self.config.recipes.get(asked.model)
        epochs = OUTCOMES[augmentation] / 3
        share = max(1.0, epochs / recipe.epochs) if recipe else 1.0
        megabytes = math.ceil(self.logits_bytes(asked.data, augmentation) / 1e6)
        return Demand(math.ceil(request.minutes * share), request.memory_mb + megabytes)


def last_round(fraction: float, final_sparsity: float) -> int:
    """The first round whose nominal sparsity, 1 - (1 - fraction)^r, exceeds `final_sparsity`."""
    # The logarithm only finds where to look: at an exact power, rounding could tip it over.
    guess = min(math.log1p(-final_sparsity) / math.log1p(-fraction), 1e18)  # never infinite
    last = max(0, math.floor(guess) - 1)
    if last > MOST_ROUNDS:  # more than anybody trains, and beyond what powers can tell apart
        return last
    while 1 - (1 - fraction) ** last <= final_sparsity:
        last += 1
    return last
