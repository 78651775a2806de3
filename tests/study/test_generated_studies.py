"""Studies that nobody wrote: valid ones plan, and invalid ones are refused with their key named.

A hundred of each, always; two thousand of each with pytest -m long. Case n is the same each time.
"""

import copy
import json
import math
import random
from typing import Any

import pytest

from sdd.base.errors import StudyError
from sdd.data.datasets import DATASETS, human_kinds
from sdd.data.noise_kinds import KINDS
from sdd.data.noise_maps import MISTAKEN
from sdd.study import validation
from sdd.study.config import PALETTES, StudyConfig
from sdd.study.data_entries import survey
from sdd.study.methods import CRITERIA, INITIALISATIONS, RETRAININGS, TEACHERS
from sdd.study.specs import RoundSpec
from sdd.study.study import Study

BOTH = pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(100), id="short"),
        pytest.param(range(2000), id="long", marks=pytest.mark.long),
    ],
)
LONGEST = 600  # letters of a message

Config = dict[str, Any]
# Each fits all data sets.
MODELS = ["lenet-300-100", "resnet18", "resnet18-maxpool", "vit", "vgg-1-1", "vgg-5-4"]


# --- Valid ones ---


def number(r: random.Random, low: float, high: float) -> float:
    """Of any size between the two, which may come themselves; with as many digits as paths show."""
    if r.random() < 0.1:
        return r.choice((low, high))
    least = max(low, high * 1e-9)
    return float(f"{math.exp(r.uniform(math.log(least), math.log(high))):.3g}")


def one_or_some(r: random.Random, values: list[Any]) -> Any:
    """A value, or a list of a few different ones."""
    if r.random() < 0.6:
        return r.choice(values)
    return r.sample(values, r.randint(1, min(3, len(values))))


def recipe(r: random.Random) -> Config:
    epochs = r.choice((1, 2, 40, 160, 10**6))
    made = {
        "optimizer": r.choice(("sgd", "adamw")),
        "learning_rate": number(r, 1e-6, 1000),
        "weight_decay": number(r, 0, 1000),
        "batch_size": r.choice((1, 128, 10**6)),
        "epochs": epochs,
        "schedule": r.choice(("multistep", "cosine", "constant")),
        "milestones": sorted(r.sample(range(1, epochs), min(epochs - 1, r.randint(0, 3)))),
    }
    others = {
        "momentum": r.choice((0, 0.9, 0.999)),
        "factor": number(r, 1e-3, 1),
        "augmentation": r.choice(("none", "flip-crop")),
        "precision": r.choice(("float32", "bfloat16")),
        "channels_last": r.choice((True, False, "auto")),
        "initialisation": r.choice(list(INITIALISATIONS)),
        "nesterov": True,
        "warmup": r.randrange(epochs),
        "label_smoothing": r.choice((0, 0.1, 0.999)),
    }
    some = {key: others[key] for key in r.sample(list(others), r.randint(0, len(others)))}
    if some.get("nesterov"):
        some["momentum"] = 0.9
    return made | some


def noise(r: random.Random, datasets: list[str]) -> Config:
    people = set.intersection(*(set(human_kinds().get(name, ())) for name in datasets))
    possible = [
        kind
        for kind, what in KINDS.items()
        if (what.needs != "labels" or people)
        and (not what.maps or all(name in MISTAKEN for name in datasets))
    ]
    kind = r.choice(possible)
    needs = KINDS[kind].needs
    if needs == "rate":
        return {"kind": kind, "rate": one_or_some(r, [0, 0.1, 0.25, 0.4, 0.999])}
    return {"kind": kind} | ({"labels": r.choice(sorted(people))} if needs else {})


def valid(r: random.Random) -> Config:
    models = r.sample(MODELS, r.randint(1, 3))
    experiments: list[Config] = []
    for index in range(r.randint(1, 4)):
        datasets = r.sample(list(DATASETS), r.choice((1, 1, 1, 2)))
        one = {
            "name": r.choice(("plain", "x", "a-b_c", "0")) + str(index),
            "dataset": datasets if len(datasets) > 1 else datasets[0],
            "noise": noise(r, datasets),
            "model": one_or_some(r, models),
        }
        plain = [e for e in experiments if "teacher" not in e]
        if plain and r.random() < 0.5:
            one |= taught_by(r, r.choice(plain))
        elif r.random() < 0.5:
            one["weight_decay"] = one_or_some(r, [0, 1e-4, 0.03, 1, 1000])
        if "teacher" not in one and r.random() < 0.3:
            one["criterion"] = one_or_some(r, list(CRITERIA))
            one["scope"] = one_or_some(r, ["global", "layer"])
            one["retraining"] = one_or_some(r, list(RETRAININGS))
        experiments.append(one)
    seeds = r.sample([0, 1, 2, 17, 2**63 - 1], r.randint(1, 3))
    made: Config = {
        "study": r.choice(("a", "0", "my_study-2", "x" * 80)),
        "seeds": seeds,
        "experiments": experiments,
        "recipes": {model: recipe(r) for model in models},
        "pruning": {
            "fraction": r.choice((0.01, 0.2, 0.5, 0.99)),
            "final_sparsity": r.choice((0, 0.5, 0.999, 0.9999)),
            "rounds": r.choice((None, 1, 30, 1000)),
            "criterion": r.choice(list(CRITERIA)),
            "scope": r.choice(("global", "layer")),
            "keep": r.choice(([], ["last"], ["first", "layer1.0.conv1"])),
        },
    }
    others: Config = {
        "retraining": r.choice(list(RETRAININGS)),
        "rewinding": {"epochs": r.choice((0, 1)), "steps": 0},
        "fine_tuning": {"learning_rate": r.choice((None, 1e-3)), "epochs": r.choice((None, 1))},
        "validation": {
            "fraction": r.choice((0.01, 0.1, 0.9)), "labels": r.choice(("clean", "noisy")),
        },
        "distillation": {
            "alpha": r.choice((0, 0.8, 1)), "temperature": number(r, 0.01, 1e4),
            "largest_table": r.choice((0, 4, 1e6)),
        },
        "early_stopping": {
            "patience": r.choice((1, 3, 1000)), "tolerance": r.choice((0, 4, 100)),
            "ends_chains": r.random() < 0.5,
        },
        "rounds_per_job": r.choice((1, 10_000)),
        "save_every": r.choice((0, 60, 10**6)),
        "cluster": {"default": {"minutes": r.choice((1, 10**6)), "memory_mb": 4000},
                    models[0]: {"memory_mb": r.choice((1, 10**9))}},
        "device": r.choice(("auto", "cpu", "cuda")),
        "trainings_per_gpu": r.choice((1, 1000)),
        "deterministic": r.choice((False, True)),
        "energy": {"carbon_intensity": r.choice((None, 1e4, 0.5))},
        "figures": {"palette": r.choice(PALETTES)},
        "data": {"folder": r.choice((None, "~/data", "x" * 4096))},
        "datasets": {"cifar10": {"train_images": r.choice((None, 5000))}},
    }  # fmt: skip
    return made | {key: others[key] for key in r.sample(list(others), r.randint(0, len(others)))}


def taught_by(r: random.Random, teacher: Config) -> Config:
    """What a student shares with its teacher's experiment, and which of its chains teaches."""
    taught: Config = {"experiment": teacher["name"], "round": one_or_some(r, list(TEACHERS))}
    decays = teacher.get("weight_decay")
    if isinstance(decays, list):
        taught["weight_decay"] = r.choice(decays)
    if isinstance(teacher["model"], list):
        teacher["model"] = teacher["model"][0]  # several chains could not be told apart
    methods = {key: teacher[key] for key in ("criterion", "scope", "retraining") if key in teacher}
    return methods | {
        "dataset": teacher["dataset"], "noise": teacher["noise"], "teacher": taught,
        "alpha": one_or_some(r, [0, 0.5, 0.8, 1]),
        "temperature": one_or_some(r, [0.01, 1, 10, 1e4]),
    }  # fmt: skip


def plan(config: Config) -> Study:
    """As Snakemake does: checked, expanded, and a spec for every kind of job."""
    checked = validation.validate(config)
    study = Study.of(checked, survey(checked.datasets))
    for chain in list(study.chains.values())[:3]:
        for round in {0, 1, study.last_round}:
            spec = study.round_spec(chain, round)
            assert RoundSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
        study.labels_spec(chain.labels), study.dataset_spec(chain.dataset)
        study.request(chain.path), study.images(chain.data)
    for chain in study.logits_users.values():
        study.teacher_logits(chain)
    assert study.chains and StudyConfig.from_dict(study.config.to_dict()) == study.config
    return study


@BOTH
def test_valid_studies_plan(seeds):
    for seed in seeds:
        config = valid(random.Random(seed))
        try:
            plan(config)
        except Exception as error:
            raise AssertionError(f"study {seed}: {json.dumps(config)}") from error


# --- Invalid ones: a valid one with one thing wrong ---

IN_ITSELF: list[Any] = []  # as an anchor of YAML may be
IN_ITSELF.append(IN_ITSELF)
WRONG: dict[str, list[Any]] = {
    "number": ["much", True, {"a": 1}, math.nan, -math.inf, 10**400, [[1]], "1e-4", -1e-9],
    "text": [5, True, {"a": 1}, [[1]], "", "x" * 10**4, "no such\n", "\x00", "ß" * 300, "\ud800"],
    "truth": ["yes", 1, 0.0, [True], {"a": 1}],
    "dictionary": [5, "x", [1], True, {"nothing like it": 1}, {5: 1}],
    "list": [{"a": 1}, [[]], [None], [{"a": {}}], list(range(-5, 2000)), IN_ITSELF],
}
# The largest that is allowed, and above it nothing is; lists of them too.
BEYOND = {
    "learning_rate": 1000.1, "weight_decay": 1001, "batch_size": 10**6 + 1, "epochs": 10**6 + 1,
    "momentum": 1, "factor": 1.01, "fraction": 1, "final_sparsity": 1, "rounds": 1001,
    "alpha": 1.01, "temperature": 1e4 + 1, "largest_table": 2e6, "patience": 1001,
    "tolerance": 100.1, "rounds_per_job": 10_001, "save_every": 10**6 + 1, "minutes": 10**6 + 1,
    "memory_mb": 10**9 + 1, "trainings_per_gpu": 1001, "carbon_intensity": 1e4 + 1,
    "rate": 1, "train_images": 10**9 + 1, "seeds": [2**63], "milestones": [10**6 + 1],
}  # fmt: skip
REQUIRED = {
    "name", "dataset", "noise", "model", "kind", "optimizer", "learning_rate", "weight_decay",
    "batch_size", "epochs", "schedule", "study", "seeds", "experiments", "recipes",
}  # fmt: skip
FREE = {"folder"}  # a text, whatever it is, if it is not too long


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all that stands under a key."""
    found = [path] if path and isinstance(path[-1], str) else []
    items = value.items() if isinstance(value, dict) else (
        enumerate(value) if isinstance(value, list) else ()
    )  # fmt: skip
    return found + [leaf for key, item in items for leaf in leaves(item, (*path, key))]


def at(config: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        config = config[step]
    return config


def kind_of(value: Any) -> str | None:
    kinds = {bool: "truth", int: "number", float: "number", str: "text", dict: "dictionary",
             list: "list"}  # fmt: skip
    return kinds.get(type(value))


def spoil(r: random.Random, config: Config) -> str:
    """Makes one thing of it wrong; the key that the message has to name."""
    while True:
        path = r.choice(leaves(config))
        holder, key = at(config, path[:-1]), path[-1]
        value = holder[key]
        match r.choice(("wrong", "wrong", "beyond", "unknown", "missing", "semantic")):
            case "wrong" if (kind := kind_of(value)) and not (kind == "text" and key in FREE):
                wrong = r.choice(WRONG[kind])
                if kind == "dictionary" and path[0] in ("datasets", "recipes", "cluster"):
                    wrong = 5
                holder[key] = copy.deepcopy(wrong)
                return key
            case "beyond" if key in BEYOND and path[-2:] != ("validation", "labels"):
                holder[key] = copy.deepcopy(BEYOND[key])
                return key
            case "unknown" if isinstance(value, dict) and key not in ("datasets", "recipes"):
                name = r.choice(("sedes", "x" * 500, "learning-rate", "ß", ""))
                value[name] = 1
                return name[:50]
            case "missing" if key in REQUIRED and path[0] in ("experiments", "recipes", key):
                if path[0] == "experiments" and key == "weight_decay":
                    continue
                del holder[key]
                return key
            case "semantic":
                experiment = r.choice(config["experiments"])
                name, wrong = r.choice(list(SEMANTIC.items()))
                experiment[name] = copy.deepcopy(wrong)
                return name
            case _:
                continue


SEMANTIC: Config = {
    "dataset": "imagenet", "model": "vgg16", "noise": {"kind": "symmetric"},
    "teacher": {"experiment": "nobody", "round": "best"}, "weight_decay": [0.5, 0.5],
}  # fmt: skip


@BOTH
def test_invalid_studies_are_refused_with_their_key(seeds):
    for seed in seeds:
        r = random.Random(seed)
        config = valid(r)
        key = spoil(r, config)
        case = f"study {seed}, {key}: {str(config)[:3000]}"
        try:
            plan(config)
        except StudyError as error:
            said = str(error)
        except Exception as error:
            raise AssertionError(case) from error
        else:
            raise AssertionError(f"not refused: {case}")
        assert key in said, f"{said}\n{case}"
        assert len(said) <= LONGEST, f"{len(said)}: {said}"
