"""A study: what a config expands to, and which configs are refused with which words."""

import itertools
import json
import random
import re
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

from sdd import study
from sdd.config import merge
from sdd.datasets import DATASETS
from sdd.errors import StudyError
from sdd.label_noise import KINDS
from sdd.settings import Recipe, canonical, derive_seed
from sdd.study import Study, last_round

SCHEMA = study.read_schema()
OVERLAYS = sorted((ROOT / "workflow" / "studies").glob("*.yaml"))


def build(config) -> Study:
    study.validate(config, SCHEMA)
    return Study.from_config(config)


def test_the_embedded_study_has_twelve_chains_of_32_rounds(embedded):
    built = build(embedded)
    assert built.rounds == 31
    assert len(built.chains) == 12
    assert list(built.chains)[:2] == [
        "mnist-5k/symmetric-0.4/lenet-300-100/ce-wd0.0001/seed1",
        "mnist-5k/symmetric-0.4/lenet-300-100/ce-wd0.0001/seed2",
    ]


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_shipped_studies_are_valid(embedded, overlay):
    assert build(merge(embedded, yaml.safe_load(overlay.read_text()))).chains


def test_the_study_in_the_readme_is_valid(embedded):
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(build(merge(embedded, yaml.safe_load(text))).chains) == 9


@pytest.mark.parametrize(
    ("fraction", "final", "expected"),
    [
        (0.2, 0.998, 28),
        (0.2, 0.999, 31),
        (0.5, 0.998, 9),
        (0.2, 0.0, 1),
        (0.5, 0.5, 2),
        (0.5, 0.75, 3),
        (0.9, 0.9, 2),
    ],
)
def test_last_round_is_the_first_above_the_final_sparsity(fraction, final, expected):
    sparsity = [1 - (1 - fraction) ** r for r in range(100)]
    assert last_round(fraction, final) == expected
    # An independent count, forgiving the last bit of an exact power.
    assert expected == next(r for r, s in enumerate(sparsity) if s > final + 1e-12)


def test_rounds_override_the_final_sparsity():
    assert last_round(0.2, 0.998, rounds=3) == 3


@pytest.mark.parametrize(("dataset", "gigabytes"), [("cifar10", 0.1458), ("cifar100", 1.458)])
def test_a_table_of_answers_has_a_known_size_and_a_limit(config, dataset, gigabytes):
    config["validation"]["fraction"] = 0.1
    config["recipes"]["vgg-5-5"] = config["recipes"]["lenet-300-100"] | {
        "augmentation": "flip-crop"
    }
    grid = {"dataset": dataset, "noise": {"kind": "clean"}, "model": "vgg-5-5"}
    config["experiments"] = [
        {"name": "teacher", **grid},
        {"name": "student", "teacher": {"experiment": "teacher", "round": "best"}, **grid},
    ]
    built = build(config)
    student = built.experiments["student"][0]
    assert built.table_bytes(dataset, "flip-crop") == pytest.approx(1e9 * gigabytes)
    assert built.tabulated(student)
    config["distillation"]["largest_table"] = gigabytes - 1e-4
    assert not build(config).tabulated(student)


def test_a_chain_that_two_experiments_share_is_one(config):
    first = config["experiments"][0]
    config["experiments"].append(first | {"name": "again"})
    built = build(config)
    assert built.experiments["again"] == built.experiments["vanilla"]
    assert len(built.chains) == len(
        build(config | {"experiments": config["experiments"][:-1]}).chains
    )


def test_values_that_differ_from_the_defaults_show_in_the_path(config):
    config["experiments"][2] |= {
        "alpha": [config["distillation"]["alpha"], 0.5],
        "temperature": [10, 4],
    }
    objectives = {c.objective for c in build(config).experiments["distilled"]}
    assert "kd-lenet-300-100-best-wd0.0001" in objectives
    assert "kd-lenet-300-100-dense-wd0.0001-alpha0.5-tau4" in objectives
    assert len(objectives) == 8


def test_an_unusual_teacher_shows_in_the_path(config):
    config["experiments"][2]["teacher"] = {
        "experiment": "l2", "round": "best", "weight_decay": 0.01,
    }  # fmt: skip
    objectives = {c.objective for c in build(config).experiments["distilled"]}
    assert objectives == {"kd-lenet-300-100-best-of-ce-wd0.01-wd0.0001"}


def test_different_chains_never_share_a_path_on_random_grids(config):
    rng = random.Random(0)
    for _ in range(60):
        some = lambda values: rng.sample(values, rng.randint(1, len(values)))  # noqa: E731
        base = {
            "dataset": some(["mnist-5k", "mnist", "cifar10"]),
            "noise": {"kind": "symmetric", "rate": some([0, 0.1, 0.2, 0.5])},
            "model": "lenet-300-100",
        }
        config["experiments"] = [
            {"name": "plain", "weight_decay": some([0, 1e-4, 1e-3, 0.01]), **base},
            {"name": "one", "weight_decay": 1e-4, **base},
            {
                "name": "student",
                "teacher": {"experiment": "one", "round": some(["best", "dense"])},
                "alpha": some([0.8, 0.5, 0]),
                "temperature": some([10, 4, 1]),
                "weight_decay": some([1e-4, 0.01]),
                **base,
            },
            {
                "name": "grandchild",
                "teacher": {"experiment": "one", "round": "best"},
                **base,
            },
        ]
        built = build(config)
        every = set(itertools.chain.from_iterable(built.experiments.values()))
        assert len(every) == len({chain.path for chain in every})


def test_two_chains_at_one_path_are_refused(config):
    config["experiments"][1]["weight_decay"] = [1e-4 + 1e-12, 1e-4 + 2e-12]
    with pytest.raises(StudyError, match=r"share the path .*ce-wd0\.0001/seed1.*recipe"):
        build(config)


def test_specs_hold_what_a_job_depends_on_and_nothing_more(config):
    def specs(changed):
        built = build(changed)
        return {
            (path, r): canonical(chain.spec(r))
            for path, chain in built.chains.items()
            for r in (0, 2)
        }

    before = specs(config)
    path = "mnist-5k/symmetric-0.4/lenet-300-100/ce-wd0.0001/seed1"
    student = path.replace("ce-", "kd-lenet-300-100-best-")
    for change, changed in [
        ({"seeds": [1, 2, 3]}, set()),
        ({"pruning": {"rounds": 40}}, set()),
        ({"early_stopping": {"patience": 9}}, set()),
        ({"figures": {"palette": "deep"}}, set()),
        ({"device": "cpu"}, set()),
        ({"pruning": {"fraction": 0.3}}, {(path, 2), (student, 2)}),
        ({"distillation": {"alpha": 0.7}}, {(student, 0), (student, 2)}),
        ({"recipes": {"lenet-300-100": {"epochs": 50}}},
         {(path, 0), (path, 2), (student, 0), (student, 2)}),
    ]:  # fmt: skip
        after = specs(merge(config, change))
        different = {
            key for key in before if key[0] in (path, student) and before[key] != after[key]
        }
        assert different == changed, change


def test_the_schema_and_the_library_know_the_same_names():
    known = SCHEMA["$defs"]
    assert known["dataset"]["enum"] == list(DATASETS)
    kinds = SCHEMA["properties"]["experiments"]["items"]["properties"]["noise"]["properties"][
        "kind"
    ]
    assert kinds["enum"] == list(KINDS)
    human = {kind for dataset in DATASETS.values() if dataset.human for kind in dataset.human.kinds}
    assert set(known["human_labels"]["enum"]) == human
    assert set(known["recipe"]["properties"]) == set(Recipe.__dataclass_fields__)


def test_every_key_is_described():
    def walk(node, path):
        for name, child in node.get("properties", {}).items():
            target = child
            if "$ref" in child:
                target = SCHEMA["$defs"][child["$ref"].rsplit("/", 1)[1]] | child
            assert "description" in target, f"{path}.{name}"
            walk(child, f"{path}.{name}")
        if "items" in node:
            walk(node["items"], path)

    walk(SCHEMA, "")
    walk(SCHEMA["$defs"]["recipe"], "recipe")


def test_config_writes_out_every_key_of_the_embedded_study(embedded):
    assert set(embedded) == set(SCHEMA["properties"])
    for key, value in embedded.items():
        if SCHEMA["properties"][key].get("type") == "object" and key not in (
            "recipes", "cluster",
        ):  # fmt: skip
            assert set(value) == set(SCHEMA["properties"][key]["properties"]), key
    requests = set(SCHEMA["$defs"]["request"]["properties"])
    assert all(set(request) == requests for request in embedded["cluster"].values())
    assert set(embedded["recipes"]["lenet-300-100"]) == set(SCHEMA["$defs"]["recipe"]["properties"])


def _experiment(index, **changes):
    return lambda c: c["experiments"][index].update(changes)


REFUSED = {
    "unknown key": (lambda c: c.update(sedes=[1]), "'sedes' was unexpected"),
    "unknown key of an experiment": (_experiment(0, modle="x"), r"experiments\[0\].*'modle'"),
    "unknown key of a recipe": (
        lambda c: c["recipes"]["lenet-300-100"].update(lr=1), "recipes.lenet-300-100.*'lr'",
    ),
    "wrong type": (lambda c: c.update(seeds=1), r"seeds: 1 is not of type 'array'.*list of seeds"),
    "rate of 1": (
        _experiment(0, noise={"kind": "symmetric", "rate": 1}),
        r"experiments\[0\]\.noise\.rate: 1 .*maximum of 1.*\[0, 1\)",
    ),
    "rate in a list": (
        _experiment(0, noise={"kind": "symmetric", "rate": [0.1, -0.1]}),
        r"experiments\[0\]\.noise\.rate\[1\]: -0.1 .*minimum of 0",
    ),
    "no rate": (_experiment(0, noise={"kind": "symmetric"}), "'symmetric' needs rate"),
    "clean with a rate": (
        _experiment(0, noise={"kind": "clean", "rate": 0.1}), "'clean' takes no rate",
    ),
    "human labels of another set": (
        _experiment(0, noise={"kind": "human", "labels": "worse"}),
        "mnist-5k has no human labels 'worse'.*cifar10n",
    ),
    "asymmetric without a map": (
        _experiment(0, dataset="fashion-mnist", noise={"kind": "asymmetric", "rate": 0.2}),
        "asymmetric noise is not known for fashion-mnist.*cifar10",
    ),
    "unknown data set": (
        _experiment(0, dataset="imagenet"), r"experiments\[0\]\.dataset.*'imagenet'.*'cifar10'",
    ),
    "unknown model": (
        _experiment(0, model="vgg16"), r"experiments\[0\]\.model.*'vgg16'.*vgg-<gamma>-<delta>",
    ),
    "model without a recipe": (
        _experiment(0, model="resnet18"), "no recipe for 'resnet18'.*lenet-300-100",
    ),
    "empty grid": (_experiment(0, dataset=[]), r"experiments\[0\]\.dataset: \[\]"),
    "no experiments": (lambda c: c.update(experiments=[]), r"experiments: \[\]"),
    "no seeds": (lambda c: c.update(seeds=[]), r"seeds: \[\]"),
    "a seed twice": (lambda c: c.update(seeds=[1, 1]), r"seeds: \[1, 1\] has non-unique"),
    "a name twice": (_experiment(1, name="vanilla"), "'vanilla' is used twice"),
    "teacher that does not exist": (
        _experiment(2, teacher={"experiment": "vanila", "round": "best"}),
        "'vanila' is not an experiment above.*vanilla, l2",
    ),
    "teacher that teaches itself": (
        _experiment(2, teacher={"experiment": "distilled", "round": "best"}),
        "'distilled' is not an experiment above.*cannot teach itself",
    ),
    "teacher on other noise": (
        _experiment(2, noise={"kind": "symmetric", "rate": 0.2}),
        "must hold exactly one chain on mnist-5k, symmetric-0.2, seed 1.*it holds none",
    ),
    "teacher that is not one": (
        _experiment(2, teacher={"experiment": "l2", "round": "best"}),
        r"it holds 3 chains: ce-wd0\.01, ce-wd0\.03.*teacher\.weight_decay",
    ),
    "alpha without a teacher": (_experiment(0, alpha=0.5), "need a teacher"),
    "unknown teacher round": (
        _experiment(2, teacher={"experiment": "vanilla", "round": "bset"}),
        r"experiments\[2\]\.teacher\.round.*'bset'.*'best', 'dense'",
    ),
    "milestone beyond the last epoch": (
        lambda c: c["recipes"]["lenet-300-100"].update(epochs=30),
        r"recipes\.lenet-300-100\.milestones: 30 is beyond.*at most 29",
    ),
    "fraction of 1": (lambda c: c["pruning"].update(fraction=1), "pruning.fraction: 1 "),
    "bad study name": (lambda c: c.update(study="my study"), "study: 'my study' does not match"),
    "unknown key, with what is allowed": (
        lambda c: c.update(sedes=[1]), "Keys are: study, seeds, experiments",
    ),
    "missing key": (
        lambda c: c["experiments"][0].pop("model"), "'model' is a required.*Keys are: name",
    ),
    "epochs of 3.0": (
        lambda c: c["recipes"]["lenet-300-100"].update(epochs=3.0),
        r"lenet-300-100\.epochs: 3.0 is not of type 'integer'.*Epochs of every round",
    ),
    "rounds of 4.0": (lambda c: c["pruning"].update(rounds=4.0), r"pruning\.rounds: 4\.0 is not"),
    "seed of 1.0": (lambda c: c.update(seeds=[1.0]), r"seeds\[0\]: 1\.0 is not of type 'integer'"),
    "not a number": (
        lambda c: c["recipes"]["lenet-300-100"].update(learning_rate=float("nan")),
        r"learning_rate: nan is not of type 'number'",
    ),
    "infinite": (_experiment(0, weight_decay=float("inf")), r"weight_decay: inf is not"),
    "a number that YAML reads as text": (
        _experiment(0, weight_decay="1e-4"), "'1e-4' is not of type 'number'.*write 1.0e-4",
    ),
    "an empty list, with what is allowed": (
        _experiment(0, dataset=[]), "dataset: .* One data set, or a list",
    ),
    "gamma meant as a width": (
        lambda c: (
            c["recipes"].update({"vgg-32-4": c["recipes"]["lenet-300-100"]}),
            c["experiments"][0].update(model="vgg-32-4"),
        ),
        "vgg-32-4.*32 channels are gamma 5",
    ),
    "nothing to validate on": (
        lambda c: c["validation"].update(fraction=0.0001), "0.0001 of the 4,000 training images",
    ),
    "a study named published": (lambda c: c.update(study="published"), "Not published"),
    "unknown palette": (lambda c: c["figures"].update(palette="nosuch"), "palette: 'nosuch'.*deep"),
    "noise rates that print alike": (
        lambda c: (
            c["experiments"].pop(),
            c["experiments"][1].update(noise={"kind": "symmetric", "rate": 0.4000001}),
        ),
        "0.4 and 0.4000001 would share the labels",
    ),
    "model too deep for its images": (
        lambda c: (
            c["recipes"].update({"vgg-3-6": c["recipes"]["lenet-300-100"]}),
            c["experiments"][0].update(model="vgg-3-6"),
        ),
        r"vgg-3-6.*28 x 28",
    ),
    "a request for an unknown model": (
        lambda c: c["cluster"].update(vgg16={"minutes": 5}), "cluster: 'vgg16'.*default, or the",
    ),
    "a request for something else": (
        lambda c: c["cluster"].update(vit={"gpus": 2}), r"cluster\.vit.*'gpus'.*minutes, memory_mb",
    ),
    "no time": (
        lambda c: c["cluster"]["default"].update(minutes=0), r"default\.minutes: 0 is less",
    ),
    "an incomplete default": (
        lambda c: c.update(cluster={"default": {"minutes": 5}}),
        "cluster.default: 'memory_mb' is a required.*needs minutes and memory_mb",
    ),
}  # fmt: skip


def test_a_request_is_the_default_with_what_differs_for_the_model(config):
    (chain, *_) = build(config).chains
    config["cluster"] = {"default": {"minutes": 5, "memory_mb": 6}, "vit": {"minutes": 7}}
    assert build(config).request(chain) == {"minutes": 5, "memory_mb": 6}
    config["cluster"]["lenet-300-100"] = {"minutes": 8}
    assert build(config).request(chain) == {"minutes": 8, "memory_mb": 6}


def test_a_table_of_answers_asks_for_its_passes_and_its_memory(config):
    config["cluster"] = {"default": {"minutes": 10, "memory_mb": 2000}}
    config["recipes"]["lenet-300-100"] |= {"epochs": 27, "milestones": []}
    config["validation"]["fraction"] = 0.2
    built = build(config)
    (chain, *_) = built.chains
    # 3,200 images, 10 classes; 162 outcomes in half precision: twice the passes of a training.
    assert built.table_request(chain, "flip-crop") == {"minutes": 20, "memory_mb": 2011}
    assert built.table_request(chain, "none") == {"minutes": 10, "memory_mb": 2001}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_key_value_and_what_is_allowed(config, case):
    change, words = REFUSED[case]
    change(config)
    with pytest.raises(StudyError, match=f"(?s){words}"):
        build(config)


def test_every_palette_is_one_that_seaborn_knows():
    import seaborn

    for name in SCHEMA["properties"]["figures"]["properties"]["palette"]["enum"]:
        assert len(seaborn.color_palette(name, 4)) == 4


def test_a_number_written_as_an_integer_is_the_same_recipe(config):
    config["experiments"] = [config["experiments"][0] | {"weight_decay": [1]}]
    one = build(config).experiments["vanilla"]
    config["experiments"][0]["weight_decay"] = [1.0]
    assert build(config).experiments["vanilla"] == one
    assert canonical(one[0].spec(1)) == canonical(build(config).experiments["vanilla"][0].spec(1))


def test_only_what_can_be_shown_is_promised(config):
    both = config["experiments"][2]
    # A student without a chain of its own to be compared with.
    config["recipes"]["vgg-3-3"] = config["recipes"]["lenet-300-100"]
    config["experiments"] = [config["experiments"][0], both | {"model": "vgg-3-3"}]
    built = build(config)
    assert built.figures() == ["figure1_phenomenon", "figure2_occurrence"]
    assert built.tables() == ["descent", "early_stopping"]
    # Figure 4 needs a setting with several weight decays, not merely the first one.
    plain = config["experiments"][0]
    config["experiments"] = [
        plain | {"noise": {"kind": "symmetric", "rate": [0.2, 0.4]}},
        plain | {"name": "l2", "weight_decay": [0.01]},
    ]
    shown = build(config).histogram_rounds()
    assert {c.noise.rate for c, _ in shown} == {0.4}
    assert {c.recipe.weight_decay for c, _ in shown} == {1e-4, 0.01}


def test_seeds_of_different_purposes_differ_and_stay():
    assert derive_seed(1, "noise") == derive_seed(1, "noise")
    several = {derive_seed(s, p, r) for s in (1, 2) for p in ("noise", "batches") for r in range(5)}
    assert len(several) == 20
    assert all(0 <= seed < 2**63 for seed in several)


def test_learning_rates_of_the_schedules():
    recipe = Recipe("sgd", 0.1, 0, 128, 160, "multistep", milestones=(80, 120))
    rates = [recipe.learning_rate_at(e) for e in (0, 79, 80, 119, 120, 159)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    cosine = Recipe("adamw", 1e-4, 0, 512, 200, "cosine")
    assert cosine.learning_rate_at(0) == 1e-4
    assert cosine.learning_rate_at(100) == pytest.approx(5e-5)
    assert 0 < cosine.learning_rate_at(199) < 1e-8
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_planning_does_not_import_torch():
    code = "import sys, sdd.devices, sdd.study, sdd.fingerprint; sdd.study.read_schema(); " \
        "sys.exit('torch' in sys.modules)"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
