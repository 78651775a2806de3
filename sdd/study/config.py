"""The config of a study: its keys, their meaning, ranges and defaults, all in one place.

`sdd.study.validation` checks a config against these classes and exports their JSON schema; jobs
read the same classes from values that were checked.
"""

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MaxLen

from sdd.base.fields import (
    STRICT,
    Rate,
    Seed,
    Share,
    Text,
    WeightDecay,
    axis,
    setting,
)
from sdd.base.records import from_dict, to_dict
from sdd.data.datasets import DATASETS, human_kinds
from sdd.data.noise_kinds import KINDS
from sdd.data.settings import Validation
from sdd.models import names
from sdd.study.methods import CRITERIA, RETRAININGS, SELECTIONS, TEACHERS
from sdd.study.settings import (
    Distillation,
    EarlyStopping,
    FineTuning,
    Pruning,
    Recipe,
    Rewinding,
    Temperature,
)

NAME = "^[a-z0-9][a-z0-9_-]{0,79}$"  # of studies and experiments: they become folders
_KINDS = "; ".join(f"{name} ({kind.meaning})" for name, kind in KINDS.items())
_HUMAN = "; ".join(f"{', '.join(kinds)} ({name})" for name, kinds in human_kinds().items())

_SELECTIONS = ", ".join(f"{name} ({rule.meaning})" for name, rule in SELECTIONS.items())

MOST_ROUNDS = 1000  # of a chain
MOST_CHAINS = 10_000  # of a study

Minutes = Annotated[int, Ge(1), Le(10**6)]
Megabytes = Annotated[int, Ge(1), Le(10**9)]


@dataclass(frozen=True)
class NoiseGrid:
    """Label noise of the training labels."""

    __pydantic_config__ = STRICT

    kind: str = setting(f"Kind of noise: {_KINDS}.", enum=list(KINDS))
    rate: tuple[Rate, ...] = axis(
        "Proportion of training samples whose label is changed, in [0, 1); one, or a list.", ()
    )
    labels: tuple[str, ...] = axis(
        f"Which people's labels human noise takes; one, or a list: {_HUMAN}.", ()
    )


@dataclass(frozen=True)
class TeacherGrid:
    """Distil from a round of another experiment's chain on the same data, noise and seed, or from
    a network that was trained elsewhere."""

    __pydantic_config__ = STRICT

    experiment: str | None = setting("Name of an experiment that stands above this one.", None)
    round: tuple[str, ...] = axis(
        f"Which round teaches: {_SELECTIONS}, or dense (round 0); one, or a list.",
        (),
        enum=list(TEACHERS),
    )
    weight_decay: WeightDecay | None = setting(
        "The weight decay of the teacher, 0 to 1,000, where its experiment has several.", None
    )
    weights: Text | None = setting(
        "A .safetensors file with the weights of a network that was trained elsewhere, instead of "
        "experiment and round.",
        None,
    )
    model: str | None = setting(
        f"The model that the weights are of: {', '.join(names.MODELS)}, or one of your own.",
        None,
        examples=list(names.MODELS),
    )
    name: Annotated[str, MaxLen(80)] | None = setting(
        "What the teacher with these weights is called in paths, lower case letters, digits, - and "
        "_; needed where a study has two of one model. Default, outside.",
        None,
        pattern=NAME,
    )


@dataclass(frozen=True)
class Experiment:
    """A grid of chains: every combination of what its keys list, for every seed."""

    __pydantic_config__ = STRICT

    name: str = setting(
        "Name of the experiment, lower case letters, digits, - and _.", pattern=NAME
    )
    dataset: tuple[str, ...] = axis(
        f"One data set, or a list of them: {', '.join(DATASETS)}, or one of your own.",
        examples=list(DATASETS),
    )
    noise: NoiseGrid = setting("Label noise of the training labels: its kind, and what that needs.")
    model: tuple[str, ...] = axis(
        f"One model, or a list of them, each with a recipe: {', '.join(names.MODELS)} (2^gamma "
        "channels in the first of delta blocks, such as vgg-5-5), or one of your own.",
        examples=list(names.MODELS),
    )
    weight_decay: tuple[WeightDecay, ...] = axis(
        "The paper's lambda, 0 to 1,000; one, or a list. Default, the recipe's.", ()
    )
    teacher: TeacherGrid | None = setting(
        "Distil from a round of another experiment's chain on the same data, noise and seed, or "
        "from a network that was trained elsewhere.",
        None,
    )
    alpha: tuple[Share, ...] = axis(
        "Weight of the teacher in the loss, in [0, 1]; one, or a list. Default, "
        "distillation.alpha.",
        (),
    )
    temperature: tuple[Temperature, ...] = axis(
        "Temperature of the distillation, 0.01 to 10,000; one, or a list. Default, "
        "distillation.temperature.",
        (),
    )
    seeds: tuple[Seed, ...] = setting(
        f"Seeds of this experiment, 0 to {2**63 - 1:,}. Default, the study's.", ()
    )
    criterion: tuple[str, ...] = axis(
        f"What ranks the weights: {', '.join(CRITERIA)}; one, or a list. Default, "
        "pruning.criterion.",
        (),
        enum=list(CRITERIA),
    )
    scope: tuple[Literal["global", "layer"], ...] = axis(
        "Whether all layers are ranked together (global) or each by itself (layer); one, or a "
        "list. Default, pruning.scope.",
        (),
    )
    retraining: tuple[str, ...] = axis(
        f"What a round starts from: {', '.join(RETRAININGS)}; one, or a list. Default, the "
        "study's.",
        (),
        enum=list(RETRAININGS),
    )


@dataclass(frozen=True)
class PruningSettings(Pruning):
    """Pruning before every retraining, and how far it goes."""

    __pydantic_config__ = STRICT

    final_sparsity: Rate = setting(
        "The chain ends with the first round whose sparsity is above this, in [0, 1).", 0.999
    )
    rounds: Annotated[int, Ge(1), Le(MOST_ROUNDS)] | None = setting(
        f"Number of pruning rounds, 1 to {MOST_ROUNDS:,}, whatever final_sparsity says; null to "
        "let final_sparsity decide.",
        None,
    )


@dataclass(frozen=True)
class DistillationSettings(Distillation):
    """Equation (1) of the paper, for experiments that do not say otherwise."""

    __pydantic_config__ = STRICT

    largest_table: Annotated[float, Ge(0), Le(1e6)] = setting(
        "GB that a file of teacher logits may have, 0 to 1,000,000; where it would be larger, the "
        "teacher runs beside its student in every epoch.",
        4.0,
    )


@dataclass(frozen=True)
class EarlyStoppingSettings(EarlyStopping):
    """When a chain would be stopped, by its validation accuracy over the rounds."""

    __pydantic_config__ = STRICT

    ends_chains: bool = setting(
        "false: an analysis of whole chains; true: early stopping really ends a chain, and its "
        "later rounds are not trained.",
        False,
    )

    @property
    def rule(self) -> EarlyStopping:
        return EarlyStopping(self.patience, self.tolerance)


Deployed = Literal["dense", "best", "sparsest", "stopped"]


@dataclass(frozen=True)
class DeploymentSettings:
    """Which rounds are made into models that other programs run, and measured."""

    __pydantic_config__ = STRICT

    rounds: tuple[Deployed, ...] = setting(
        "A list of which rounds of every chain are deployed: dense (round 0), best (validation "
        "accuracy), sparsest (within early_stopping.tolerance of the best), stopped (what early "
        "stopping keeps); none if it is empty.",
        (),
        uniqueItems=True,
    )
    seconds: Annotated[float, Ge(0.1), Le(1e5)] = setting(
        "Seconds for which each deployed round is measured, 0.1 to 100,000: half of them latency, "
        "half energy.",
        20.0,
    )


@dataclass(frozen=True)
class Data:
    """Where data sets come from."""

    __pydantic_config__ = STRICT

    folder: Text | None = setting(
        "A folder that already holds the files of the data sets; null to download them.", None
    )


@dataclass(frozen=True)
class Request:
    """What one round asks of a scheduler, minutes and memory_mb."""

    __pydantic_config__ = STRICT

    minutes: Minutes | None = setting("Minutes that one round may take, 1 to 1,000,000.", None)
    memory_mb: Megabytes | None = setting(
        "Megabytes of the machine's memory (not the GPU's) for a job, 1 to 1,000,000,000.", None
    )


@dataclass(frozen=True)
class DataEntry:
    """A data set of the user's own, or a subset of any."""

    __pydantic_config__ = STRICT

    file: Text | None = setting(
        "An .npz file of your own with train_images, train_labels, test_images and test_labels; "
        "null for a folder, or for a known data set.",
        None,
    )
    folder: Text | None = setting(
        "A folder of images of your own, with train/ and test/ and in each a folder for every "
        "class, and maybe true_labels.csv; null for a file, or for a known data set.",
        None,
    )
    image_size: Annotated[int, Ge(1), Le(1024)] | None = setting(
        "Pixels a side, 1 to 1,024, to which the images of a folder are scaled.", None
    )
    train_images: Annotated[int, Ge(2), Le(10**9)] | None = setting(
        "How many of the training images are used, 2 to 1,000,000,000, stratified by class, the "
        "same for every seed; null for all.",
        None,
    )


@dataclass(frozen=True)
class OwnModel:
    """A model of the user's own."""

    __pydantic_config__ = STRICT

    build: Annotated[str, MaxLen(200)] = setting(
        "Where its function lies, my_package.my_module:my_net, in a module beside the Snakefile, "
        "in the working directory, or installed. my_net(channels, size, classes) returns a torch "
        "module that maps images [N, channels, size, size] to logits [N, classes].",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$",
    )


@dataclass(frozen=True)
class EnergySettings:
    """Energy and CO2."""

    __pydantic_config__ = STRICT

    carbon_intensity: Annotated[float, Gt(0), Le(1e4)] | None = setting(
        "Grams of CO2 a kWh of your electricity, above 0, at most 10,000; null for what "
        "carbontracker assumes.",
        None,
    )


PALETTES = (
    "colorblind", "deep", "muted", "bright", "pastel", "dark", "husl", "tab10", "Set1", "Set2",
    "Dark2", "viridis", "cividis",
)  # fmt: skip


@dataclass(frozen=True)
class FigureSettings:
    """How the figures look."""

    __pydantic_config__ = STRICT

    palette: str = setting(
        f"Name of a seaborn palette: {', '.join(PALETTES)}.", "colorblind", enum=list(PALETTES)
    )


def _run(description: str, default: Any, **schema: Any) -> Any:
    """A setting that only says how a study is run: no result depends on it, and no spec has it."""
    return setting(description, default, run=True, **schema)


@dataclass(frozen=True)
class StudyConfig:
    """A study of sparse double descent."""

    __pydantic_config__ = STRICT

    study: str = setting(
        "Name of the study, lower case letters, digits, - and _; its folders have this name. Not "
        "published.",
        pattern=NAME,
    )
    seeds: tuple[Seed, ...] = setting(
        f"A list of seeds, integers from 0 to {2**63 - 1:,}, each once; every experiment runs "
        "once for each. A seed fixes noise, initial weights and batch order.",
        uniqueItems=True,
        minItems=1,
    )
    experiments: tuple[Experiment, ...] = setting(
        "A list of experiments, each a grid; an overlay replaces the whole list.", minItems=1
    )
    recipes: dict[str, Recipe] = setting("How each model is trained, by the model's name.")
    datasets: dict[str, DataEntry] = setting(
        "Data sets of your own by name (lower case letters, digits, - and _), and subsets of known "
        "ones.",
        {},
    )
    models: dict[str, OwnModel] = setting(
        "Models of your own by name: lower case letters, digits, - and _.", {}
    )
    pruning: PruningSettings = setting("Pruning before every retraining.", PruningSettings())
    retraining: str = setting(
        f"What a round starts from: {', '.join(RETRAININGS)}.",
        "learning-rate-rewinding",
        enum=list(RETRAININGS),
    )
    rewinding: Rewinding = setting(
        "Where weight-rewinding goes back to, within the dense training.", Rewinding()
    )
    fine_tuning: FineTuning = setting(
        "How fine-tuning trains the weights that are left.", FineTuning()
    )
    validation: Validation = setting(
        "The part of the training set held out for choosing teachers and stopping.", Validation()
    )
    distillation: DistillationSettings = setting(
        "Equation (1) of the paper.", DistillationSettings()
    )
    early_stopping: EarlyStoppingSettings = setting(
        "When a chain is stopped, by its validation accuracy.", EarlyStoppingSettings()
    )
    deployment: DeploymentSettings = setting(
        "Which rounds are made into models that other programs run.", DeploymentSettings()
    )
    data: Data = _run("Where data sets come from.", Data())
    rounds_per_job: Annotated[int, Ge(1), Le(10_000)] = _run(
        "Rounds of a chain that one job trains in a row, 1 to 10,000.", 1
    )
    save_every: Annotated[int, Ge(0), Le(10**6)] = _run(
        "Seconds between two savings of a training's state, 0 to 1,000,000; a killed job goes on "
        "from the last.",
        60,
    )
    cluster: dict[str, Request] = _run(
        "What one round of a training asks of a cluster's scheduler: under default, and what "
        "differs under the name of a model.",
        {"default": Request(60, 4000)},
    )
    device: Literal["auto", "cpu", "cuda"] = _run(
        "Device of the trainings: auto (CUDA where there is one), cpu, or cuda.", "auto"
    )
    trainings_per_gpu: Annotated[int, Ge(1), Le(1000)] = _run(
        "Trainings that share a GPU, 1 to 1,000.", 1
    )
    deterministic: bool = _run(
        "Whether a GPU uses only kernels that always give the same bits, which are slower; a model "
        "that needs others is then refused by torch. The CPU does so anyway.",
        False,
    )
    energy: EnergySettings = setting("Energy and CO2.", EnergySettings())
    figures: FigureSettings = setting("How the figures look.", FigureSettings())

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "StudyConfig":
        """From values that were checked, such as a spec holds."""
        return from_dict(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """A config that reads the same, laid over any other: every key, but in experiments."""
        values = to_dict(self)
        return values | {"experiments": [_given(grid) for grid in values["experiments"]]}


def _given(grid: dict[str, Any]) -> dict[str, Any]:
    """Without what was not given, which is no value that a config may have."""
    return {
        key: _given(value) if isinstance(value, dict) else value
        for key, value in grid.items()
        if value not in (None, [])
    }


# The keys on which no result depends.
RUN_KEYS = tuple(f.name for f in fields(StudyConfig) if f.metadata.get("run"))
