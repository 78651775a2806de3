"""A study: from one config to its chains, rounds, paths and specs. Pure; imports no torch.

The config is validated in two steps: its shape by the JSON schema, then what a schema cannot say
(a teacher that does not exist, a milestone beyond the last epoch, two chains at one path).
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sdd.datasets import DATASETS
from sdd.errors import StudyError
from sdd.label_noise import MISTAKEN
from sdd.settings import (
    OUTCOMES,
    WIDEST_LAYER,
    Distillation,
    EarlyStopping,
    Noise,
    Pruning,
    Recipe,
    canonical,
)

# What collecting depends on: the keys that decide which chains exist and how they are called.
CHAIN_KEYS = (
    "study", "seeds", "experiments", "recipes", "pruning", "validation", "distillation",
    "stop",
)  # fmt: skip
RUN_KEYS = (
    "data", "device", "trainings_per_gpu", "rounds_per_job", "save_every", "cluster",
)  # fmt: skip


@dataclass(frozen=True)
class Chain:
    """One model's life in one setting: algorithm 1 of the paper, once.

    `path` tells it apart from every other chain of the study, and is made for people.
    """

    dataset: str
    noise: Noise
    model: str
    recipe: Recipe
    pruning: Pruning
    distillation: Distillation | None
    teacher: "Teacher | None"
    seed: int
    objective: str
    stopping: EarlyStopping | None = None  # the rule that really ends it, if one does

    @property
    def path(self) -> str:
        return f"{self.dataset}/{self.noise.name}/{self.model}/{self.objective}/seed{self.seed}"

    @property
    def labels(self) -> str:
        """The path of its noisy labels, shared with every chain of the same noise and seed."""
        return f"{self.dataset}/{self.noise.name}/seed{self.seed}"

    @property
    def answers(self) -> str:
        """The path of the table of its teacher's answers, shared with its fellow students."""
        assert self.teacher
        return f"{self.teacher.path}/answers-{self.recipe.augmentation}"

    def spec(self, round: int) -> dict[str, Any]:
        """Everything the training of `round` depends on beside its input files.

        Never the number of rounds, the seeds or the experiments of the study: extending the
        sweep must retrain nothing.
        """
        spec: dict[str, Any] = {
            "chain": self.path,
            "round": round,
            "model": self.model,
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
        }
        if round > 0:
            spec["pruning"] = vars(self.pruning)
        if self.distillation:
            spec["distillation"] = vars(self.distillation)
        if self.stopping and round > 0:
            spec["stopping"] = vars(self.stopping)
        return spec


@dataclass(frozen=True)
class Teacher:
    """A round of another chain: its dense model, or its best by validation accuracy."""

    chain: Chain
    which: str

    @property
    def path(self) -> str:
        return f"{self.chain.path}/{self.which}"


@dataclass(frozen=True)
class Study:
    """One config, made sure to be runnable: build it with `Study.from_config`."""

    config: dict[str, Any]
    experiments: dict[str, tuple[Chain, ...]]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Study":
        """Raises StudyError, naming the key, its value and what is allowed."""
        experiments = _expand(config)
        _refuse_shared_paths(itertools.chain.from_iterable(experiments.values()))
        return cls(config, experiments)

    @property
    def name(self) -> str:
        return self.config["study"]

    @property
    def folder(self) -> str:
        """Where its results lie, relative to the working directory."""
        return f"results/{self.name}"

    @property
    def rounds(self) -> int:
        """The last round: a chain has one training more, the dense one."""
        return last_round(**self.config["pruning"])

    @property
    def all_rounds(self) -> range:
        return range(self.rounds + 1)

    @cached_property
    def chains(self) -> dict[str, Chain]:
        """Every chain once, by path, teachers before their students."""
        return {chain.path: chain for chains in self.experiments.values() for chain in chains}

    @cached_property
    def teachers(self) -> dict[str, Teacher]:
        """Every teacher that some chain learns from, by path."""
        return {c.teacher.path: c.teacher for c in self.chains.values() if c.teacher}

    @property
    def chain_config(self) -> dict[str, Any]:
        """The part of the config that decides which chains exist and how they are trained."""
        rule = ("early_stopping",) if self.online else ()
        return {key: self.config[key] for key in (*CHAIN_KEYS, *rule)}

    @property
    def online(self) -> bool:
        """Whether early stopping really ends the chains."""
        return self.config["stop"] == "online"

    @property
    def lasting_config(self) -> dict[str, Any]:
        """The config without what only tells how it is run, on which no result depends."""
        return {key: value for key, value in self.config.items() if key not in RUN_KEYS}

    def table_bytes(self, dataset: str, augmentation: str) -> int:
        """The size of a table of a teacher's answers."""
        data = DATASETS[dataset]
        images = data.train - round(self.config["validation"]["fraction"] * data.train)
        # See sdd.teacher_logits: in half precision where there are many outcomes.
        number = 4 if augmentation == "none" else 2
        return images * OUTCOMES[augmentation] * data.classes * number

    def tabulated(self, student: Chain) -> bool:
        """Whether its teacher's answers are looked up; else the teacher is in the loop."""
        size = self.table_bytes(student.dataset, student.recipe.augmentation)
        return size <= 1e9 * self.config["distillation"]["largest_table"]

    def request(self, chain: str) -> dict[str, int]:
        """What one round of a chain asks of a scheduler: `minutes` and `memory_mb`."""
        requests = self.config["cluster"]
        return requests["default"] | requests.get(self.chains[chain].model, {})

    def table_request(self, chain: str, augmentation: str) -> dict[str, int]:
        """The same for the table of the answers of a round of `chain`, which is made in memory.

        A pass costs a third of a training step, so a table takes as long as so many epochs.
        """
        request, teacher = self.request(chain), self.chains[chain]
        epochs = OUTCOMES[augmentation] / 3
        share = max(1.0, epochs / teacher.recipe.epochs)
        return {
            "minutes": math.ceil(request["minutes"] * share),
            "memory_mb": request["memory_mb"]
            + math.ceil(self.table_bytes(teacher.dataset, augmentation) / 1e6),
        }

    def labels_spec(self, labels: str) -> dict[str, Any]:
        chain = next(c for c in self.chains.values() if c.labels == labels)
        return {
            "noise": vars(chain.noise),
            "validation": self.config["validation"],
            "seed": chain.seed,
        }

    @property
    def _plain(self) -> list[Chain]:
        return [chain for chain in self.chains.values() if chain.teacher is None]

    @property
    def _decayed(self) -> list[list[Chain]]:
        """The chains of each setting without a teacher that is trained with several decays."""
        settings: dict[Any, list[Chain]] = {}
        for chain in self._plain:
            key = (chain.dataset, chain.noise, chain.model, chain.seed)
            settings.setdefault(key, []).append(chain)
        return [chains for chains in settings.values() if len(chains) > 1]

    @property
    def _compared(self) -> bool:
        """Whether some student is also trained on its own, so that there is a comparison."""
        plain = {(c.dataset, c.noise, c.model, c.recipe, c.seed) for c in self._plain}
        return any(
            chain.teacher
            and (chain.dataset, chain.noise, chain.model, chain.recipe, chain.seed) in plain
            for chain in self.chains.values()
        )

    def figures(self) -> list[str]:
        """The figures this study has something to show for."""
        if self.online:  # of chains that ended early: what needs no whole ones
            names = ["figure2_occurrence"] if self._plain else []
            names += ["figure_l2_ablation"] if self._decayed else []
            return names + (["figure5_distillation"] if self._compared else [])
        names = ["figure1_phenomenon", "figure2_occurrence"] if self._plain else []
        if self._decayed:
            names += ["figure3_l2", "figure_l2_ablation"]
            names += ["figure4_weights"] if self.rounds >= HISTOGRAM_ROUND else []
        return names + (["figure5_distillation"] if self._compared else [])

    def tables(self) -> list[str]:
        """The tables this study has something to show for."""
        if self.online:
            return ["online"]
        names = ["descent", "early_stopping"]
        names += ["table1_l2"] if self._decayed else []
        names += ["table2_distillation"] if self._compared else []
        return names + (["claims"] if self._decayed or self._compared else [])

    def histogram_rounds(self) -> list[tuple[Chain, int]]:
        """What figure 4 may show: two rounds of the first setting with several weight decays."""
        chains = self._decayed[0] if self._decayed else []
        return [(chain, round) for chain in chains for round in (0, HISTOGRAM_ROUND)]


# Figures that use the rule of early stopping: for phases, or to choose a weight decay.
RULED_FIGURES = ("figure1_phenomenon", "figure3_l2", "figure4_weights")

# Figure 4 of the paper: at a sparsity of 48.8 %, three prunings of 20 %.
HISTOGRAM_ROUND = 3


def last_round(
    fraction: float, final_sparsity: float, rounds: int | None = None, scope: str = "global"
) -> int:
    """The first round whose nominal sparsity, 1 - (1 - fraction)^r, exceeds `final_sparsity`.

    `rounds` overrides it when given.
    """
    if rounds is not None:
        return rounds
    # The logarithm only finds where to look: at an exact power, rounding could tip it over.
    last = max(0, math.floor(math.log(1 - final_sparsity) / math.log(1 - fraction)) - 1)
    while 1 - (1 - fraction) ** last <= final_sparsity:
        last += 1
    return last


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _expand(config: dict[str, Any]) -> dict[str, tuple[Chain, ...]]:
    """Every experiment's grid as chains; a teacher's experiment comes before its students'."""
    experiments = {}
    for index, experiment in enumerate(config["experiments"]):
        if experiment["name"] in experiments:
            raise StudyError(
                f"experiments[{index}].name: {experiment['name']!r} is used twice. "
                "Give every experiment a name of its own."
            )
        key = f"experiments[{index}] ({experiment['name']})"
        experiments[experiment["name"]] = tuple(
            dict.fromkeys(_grid(key, experiment, config, experiments))
        )
    return experiments


def _grid(
    key: str,
    experiment: dict[str, Any],
    config: dict[str, Any],
    earlier: dict[str, tuple[Chain, ...]],
) -> Iterator[Chain]:
    teacher = experiment.get("teacher")
    if not teacher and ("alpha" in experiment or "temperature" in experiment):
        raise StudyError(f"{key}: alpha and temperature need a teacher. Add one or drop them.")
    defaults = config["distillation"]
    axes = itertools.product(
        _listed(experiment["dataset"]),
        _noises(key, experiment["noise"], _listed(experiment["dataset"])),
        _listed(experiment["model"]),
        _listed(experiment.get("weight_decay")),
        _listed(teacher["round"]) if teacher else [None],
        _listed(experiment.get("alpha", defaults["alpha"])),
        _listed(experiment.get("temperature", defaults["temperature"])),
        experiment.get("seeds", config["seeds"]),
    )
    for dataset, noise, model, weight_decay, which, alpha, temperature, seed in axes:
        _check_fit(key, model, dataset)
        usual = _recipe(key, model, config["recipes"])
        _check_hold_out(dataset, config["validation"]["fraction"])
        decay = usual.weight_decay if weight_decay is None else float(weight_decay)
        recipe = replace(usual, weight_decay=decay)
        pruning = Pruning(config["pruning"]["fraction"], config["pruning"]["scope"])
        rule = EarlyStopping(**config["early_stopping"]) if config["stop"] == "online" else None
        chain = Chain(
            dataset, noise, model, recipe, pruning,
            distillation=None, teacher=None, seed=seed, objective=f"ce-wd{recipe.weight_decay:g}",
            stopping=rule,
        )  # fmt: skip
        if teacher:
            source = _teacher_chain(key, teacher, chain, earlier)
            usual_objective = f"ce-wd{_recipe(key, source.model, config['recipes']).weight_decay:g}"
            parts = [f"kd-{source.model}-{which}"]
            parts += [f"of-{source.objective}"] if source.objective != usual_objective else []
            parts += [f"wd{recipe.weight_decay:g}"]
            parts += [f"alpha{alpha:g}"] if alpha != defaults["alpha"] else []
            parts += [f"tau{temperature:g}"] if temperature != defaults["temperature"] else []
            chain = replace(
                chain,
                distillation=Distillation(float(alpha), float(temperature)),
                teacher=Teacher(source, which),
                objective="-".join(parts),
            )
        yield chain


def _noises(key: str, noise: dict[str, Any], datasets: list[str]) -> list[Noise]:
    kind = noise["kind"]
    needed = {"clean": None, "human": "labels"}.get(kind, "rate")
    for name in {"rate", "labels"} & noise.keys() | {needed} - {None}:
        if name != needed or name not in noise:
            verb = "takes no" if name in noise else "needs"
            raise StudyError(f"{key}.noise: kind {kind!r} {verb} {name}.")
    if kind == "asymmetric":
        for dataset in set(datasets) - MISTAKEN.keys():
            raise StudyError(
                f"{key}.noise.kind: asymmetric noise is not known for {dataset}, only for "
                f"{', '.join(MISTAKEN)}. Take pair-flip for other data sets."
            )
    if kind == "human":
        kinds = {name: d.human.kinds if d.human else {} for name, d in DATASETS.items()}
        for dataset, labels in itertools.product(datasets, _listed(noise["labels"])):
            if labels not in kinds[dataset]:
                raise StudyError(
                    f"{key}.noise.labels: {dataset} has no human labels {labels!r}. There are: "
                    + "; ".join(f"{', '.join(k)} ({name})" for name, k in kinds.items() if k)
                )
        return [Noise(kind, labels=labels) for labels in _listed(noise["labels"])]
    rates = _listed(noise.get("rate", 0))
    return [Noise(kind, rate) if rate > 0 else Noise("clean") for rate in rates]


def _check_fit(key: str, model: str, dataset: str) -> None:
    vgg = re.fullmatch(r"vgg-(\d+)-(\d+)", model)
    if not vgg:
        return
    gamma, delta = map(int, vgg.groups())
    height, width = DATASETS[dataset].shape[1:]
    if 2**delta > min(height, width):
        raise StudyError(
            f"{key}.model: {model} halves its images {delta} times, which those of {dataset}, "
            f"{height} x {width} pixels, do not allow."
        )
    if 2 ** (gamma + delta - 1) > WIDEST_LAYER:
        raise StudyError(
            f"{key}.model: the last block of {model} would have 2^{gamma + delta - 1} channels; "
            f"{WIDEST_LAYER} is the limit. gamma is an exponent: 32 channels are gamma 5."
        )


def _check_hold_out(dataset: str, fraction: float) -> None:
    images = DATASETS[dataset].train
    if not 0 < round(fraction * images) < images:
        raise StudyError(
            f"validation.fraction: {fraction:g} of the {images:,} training images of {dataset} "
            "leaves none to validate or none to train on."
        )


def _recipe(key: str, model: str, recipes: dict[str, dict[str, Any]]) -> Recipe:
    if model not in recipes:
        raise StudyError(
            f"{key}.model: there is no recipe for {model!r}. Add recipes.{model} to the config; "
            f"there are recipes for {', '.join(sorted(recipes))}."
        )
    recipe = Recipe.from_dict(recipes[model])
    late = [m for m in recipe.milestones if m >= recipe.epochs]
    if late:
        raise StudyError(
            f"recipes.{model}.milestones: {late[0]} is beyond the last epoch. Epochs count from "
            f"0, so with epochs: {recipe.epochs} a milestone is at most {recipe.epochs - 1}."
        )
    return recipe


def _teacher_chain(
    key: str, teacher: dict[str, Any], student: Chain, earlier: dict[str, tuple[Chain, ...]]
) -> Chain:
    name = teacher["experiment"]
    if name not in earlier:
        raise StudyError(
            f"{key}.teacher.experiment: {name!r} is not an experiment above this one (a teacher "
            "comes before its students and cannot teach itself). There "
            + (f"are: {', '.join(earlier)}." if earlier else "is none above.")
        )
    same = [
        c
        for c in earlier[name]
        if (c.dataset, c.noise, c.seed) == (student.dataset, student.noise, student.seed)
        and teacher.get("weight_decay") in (None, c.recipe.weight_decay)
    ]
    if len(same) != 1:
        found = f"{len(same)} chains: {', '.join(c.objective for c in same)}" if same else "none"
        raise StudyError(
            f"{key}.teacher: experiment {name!r} must hold exactly one chain on "
            f"{student.dataset}, {student.noise.name}, seed {student.seed}"
            + (f", weight_decay {teacher['weight_decay']:g}" if "weight_decay" in teacher else "")
            + f" to be the teacher; it holds {found}. Name one with teacher.weight_decay, or make "
            "the two grids agree."
        )
    return same[0]


def _refuse_shared_paths(chains: Iterable[Chain]) -> None:
    by_path: dict[str, Chain] = {}
    by_labels: dict[str, Noise] = {}
    for chain in chains:
        noise = by_labels.setdefault(chain.labels, chain.noise)
        if noise != chain.noise:
            raise StudyError(
                f"experiments: the noise rates {noise.rate!r} and {chain.noise.rate!r} would share "
                f"the labels {chain.labels}. Make them differ by more than the path shows."
            )
        other = by_path.setdefault(chain.path, chain)
        if other != chain:
            differing = [
                f.name for f in fields(chain) if getattr(chain, f.name) != getattr(other, f.name)
            ]
            raise StudyError(
                f"experiments: two different chains would share the path {chain.path}; they differ "
                f"in {', '.join(differing)}. Make these values differ by more than the path shows."
            )


def _key(path: Iterable[str | int]) -> str:
    text = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
    return text.removeprefix(".") or "the config"


def validate(config: dict[str, Any], schema: dict[str, Any]) -> None:
    """Raises StudyError with the key, its value and what is allowed, for the worst violation."""
    from jsonschema import Draft202012Validator, validators
    from jsonschema.exceptions import best_match

    # JSON schema takes 3.0 for an integer, and YAML reads .nan as a number.
    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: type(value) is int,
            "number": lambda _, value: type(value) in (int, float) and math.isfinite(value),
        }
    )
    validator = validators.extend(Draft202012Validator, type_checker=types)(schema)
    error = best_match(validator.iter_errors(config))
    if error is None:
        return
    hints = []
    if error.validator in ("additionalProperties", "required") and "properties" in error.schema:
        hints.append(f"Keys are: {', '.join(error.schema['properties'])}.")
    if error.validator == "type" and isinstance(error.instance, str) and _is_number(error.instance):
        hints.append("YAML reads 1e-4 as text: write 1.0e-4.")
    hints.append(_description(error, schema))
    message = error.message.rstrip(".")
    raise StudyError(" ".join([f"{_key(error.absolute_path)}: {message}.", *filter(None, hints)]))


def _description(error: Any, schema: dict[str, Any]) -> str:
    """What the schema says of the value, or of the key around it."""
    if isinstance(error.schema, dict) and "description" in error.schema:
        return error.schema["description"]
    node, found = schema, ""
    for step in error.absolute_schema_path:
        node = node[step]
        if isinstance(node, dict):
            found = node.get("description", found)
            if "$ref" in node:
                node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]] | node
    return found


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def read_schema() -> dict[str, Any]:
    import yaml

    path = Path(__file__).parent.parent / "workflow" / "schemas" / "study.schema.yaml"
    return yaml.safe_load(path.read_text())


def params(stage_spec: dict[str, Any], stage: str) -> str:
    """A rule's one param: the canonical spec with the stage's name and its code's fingerprint."""
    from sdd.fingerprint import fingerprint

    return canonical(stage_spec | {"stage": stage, "code": fingerprint(stage)})
